//! The sidecar of version 2.

use tandem_core::fetch::record::{HEADER_LEN, RECORD_LEN};
use tandem_core::fetch::sidecar::Sidecar;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The length of a checksum, which ends the header and each record.
const SUM_LEN: usize = 8;

/// Decodes any bytes as a sidecar of version 2, and again with the magic, version and checksums
/// put right, as a program would that lies. What is accepted must agree with itself.
///
/// # Panics
///
/// When a law does not hold.
pub fn sidecar_decode(bytes: &[u8]) {
    decode(bytes);
    decode(&sealed(bytes));
}

fn decode(bytes: &[u8]) {
    let Ok(sidecar) = Sidecar::decode(bytes, None) else {
        return;
    };
    let header = sidecar.header();
    let expect = Some((header.object, header.file_size));
    let (durable, claims) = (sidecar.durable(), sidecar.claims());
    assert!(
        durable
            .held()
            .all(|chunk| sidecar.hash(chunk).is_some() && !claims.has(chunk))
    );
    assert!(
        sidecar
            .hashes()
            .keys()
            .all(|&chunk| durable.has(chunk) || claims.has(chunk))
    );
    assert_eq!(sidecar.present().have(), durable.have() + claims.have());

    // What counted, alone, says the same.
    let len = usize::try_from(sidecar.valid_len()).expect("no longer than the bytes");
    assert_eq!(sidecar.is_torn(), len < bytes.len());
    let whole = Sidecar::decode(&bytes[..len], expect).expect("a prefix of what was accepted");
    assert!(!whole.is_torn());
    let says = |of: &Sidecar| {
        (
            of.durable().clone(),
            of.claims().clone(),
            of.hashes().clone(),
        )
    };
    assert_eq!(says(&whole), says(&sidecar));

    // So does the shortest form of it.
    let short = sidecar.encode(header.salt ^ 1);
    let short = Sidecar::decode(&short, expect).expect("what was written is read");
    assert_eq!(says(&short), says(&sidecar));

    // And whoever goes on is read, and changes nothing by it.
    let (writer, opened) = sidecar.writer(7);
    let longer = [&bytes[..len], &opened].concat();
    assert_eq!(writer.len(), longer.len() as u64);
    let longer = Sidecar::decode(&longer, expect).expect("what was appended is read");
    assert!(!longer.is_torn() && !longer.is_clean());
    assert_eq!(says(&longer), says(&sidecar));
}

/// Returns the bytes with magic, version and every checksum put right.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let start = b"KDBM\x02";
    if bytes.len() < HEADER_LEN {
        return bytes;
    }
    bytes[..start.len()].copy_from_slice(start);
    let (header, records) = bytes.split_at_mut(HEADER_LEN);
    let mut chain = seal(header, 0);
    for record in records.chunks_exact_mut(RECORD_LEN) {
        chain = seal(record, chain);
    }
    bytes
}

/// Puts the checksum at the end of a header or record right, and returns it.
fn seal(bytes: &mut [u8], seed: u64) -> u64 {
    let (body, sum) = bytes.split_at_mut(bytes.len() - SUM_LEN);
    let computed = xxh3_64_with_seed(body, seed);
    sum.copy_from_slice(&computed.to_le_bytes());
    computed
}
