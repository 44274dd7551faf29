//! What a partial file's sidecar says: which chunks are here, how sure that is, their hashes.
//!
//! Law (P1, P5): a chunk is *durable* when its record was followed by the word that its bytes
//! had been synced; any other that is present is a *claim*, to be hashed before its first use;
//! and a chunk is neither unless it was said so of it, whatever part of the sidecar survived.
//! Memory follows the length of the bytes, never what they claim.
//!
//! A kill or a power loss may tear the last records. That is no error: what follows the first
//! torn one is left out, [`Sidecar::valid_len`] says where that is, and whoever goes on cuts the
//! file there. [`record`](crate::fetch::record) has the layout.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::fetch::bitmap::ChunkBitmap;
use crate::fetch::error::SidecarError;
use crate::fetch::record::{HEADER_LEN, Header, RECORD_LEN, Record, SidecarWriter};
use crate::ids::{ChunkHash, ChunkIx, ObjectId};

/// What a sidecar of version 2 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sidecar {
    header: Header,
    durable: ChunkBitmap,
    claims: ChunkBitmap,
    hashes: BTreeMap<ChunkIx, ChunkHash>,
    clean: bool,
    torn: bool,
    writer: SidecarWriter,
}

impl Sidecar {
    /// Returns what the bytes say, or why they are no sidecar, or not that of the object and
    /// file size in `expect`.
    ///
    /// Versions other than 2 are an error: ask
    /// [`version_of`](crate::fetch::kdbitmap::version_of) first.
    pub fn decode(bytes: &[u8], expect: Option<(ObjectId, u64)>) -> Result<Self, SidecarError> {
        let header = Header::decode(bytes)?;
        if let Some((wanted, file_size)) = expect {
            let found = header.object;
            if found != wanted {
                return Err(SidecarError::OtherObject { found, wanted });
            }
            let found = header.file_size;
            if found != file_size {
                return Err(SidecarError::OtherSize {
                    found,
                    wanted: file_size,
                });
            }
        }
        let (writer, _) = SidecarWriter::create(&header)?;
        let present = BTreeMap::new();
        let mut replay = Replay {
            header,
            writer,
            present,
            durable_upto: 0,
            clean: false,
        };
        let mut rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        while let Some((bytes, after)) = rest.split_first_chunk::<RECORD_LEN>() {
            if !replay.read(bytes)? {
                break;
            }
            rest = after;
        }
        replay.finish(!rest.is_empty())
    }

    /// Returns the sidecar of `object` in which every chunk that a sidecar of version 1 lists is
    /// a claim without a hash. Its bytes are what [`Sidecar::encode`] returns for the same
    /// `salt`, which is drawn by the caller.
    pub fn from_v1(bitmap: ChunkBitmap, object: ObjectId, salt: u64) -> Self {
        let (file_size, chunk_size) = (bitmap.file_size(), bitmap.chunk_size());
        let header = Header {
            object,
            file_size,
            chunk_size,
            salt,
        };
        let (mut writer, _) =
            SidecarWriter::create(&header).expect("a bitmap's sizes are possible");
        for chunk in bitmap.held() {
            writer.append(Record::Claim { chunk });
        }
        let durable = header.bitmap().expect("a bitmap's sizes are possible");
        let hashes = BTreeMap::new();
        Self {
            header,
            durable,
            claims: bitmap,
            hashes,
            clean: false,
            torn: false,
            writer,
        }
    }

    /// Returns a sidecar of version 1 of the chunks that are present, claims too: in version 1
    /// every bit is one.
    pub fn to_v1(&self) -> Vec<u8> {
        self.present().encode()
    }

    /// Returns the shortest sidecar of version 2 that says the same of every chunk, with a new
    /// `salt`: what [`Sidecar::from_v1`] is converted to, and what a sidecar is replaced by when
    /// most of its records no longer matter.
    ///
    /// It is written beside the old one, synced, and renamed over it.
    pub fn encode(&self, salt: u64) -> Vec<u8> {
        let header = Header {
            salt,
            ..self.header
        };
        let (mut writer, head) = SidecarWriter::create(&header).expect("these sizes were accepted");
        let mut bytes = head.to_vec();
        let mut append = |record| bytes.extend_from_slice(&writer.append(record));
        let durable = self.durable.held().map(|chunk| self.record(chunk));
        durable.for_each(&mut append);
        if self.durable.have() > 0 {
            append(Record::Durable {
                upto: self.durable.have().into(),
            });
        }
        let claims = self.claims.held().map(|chunk| self.record(chunk));
        claims.for_each(append);
        bytes
    }

    /// Returns a sidecar of version 2 that says that all of this is to be hashed before it counts:
    /// something was written to the file that nothing tells of.
    pub fn doubted(&self, salt: u64) -> Vec<u8> {
        let header = Header {
            salt,
            ..self.header
        };
        let (mut writer, head) = SidecarWriter::create(&header).expect("these sizes were accepted");
        let mut bytes = head.to_vec();
        for chunk in self.present().held() {
            bytes.extend_from_slice(&writer.append(self.record(chunk)));
        }
        bytes
    }

    fn record(&self, chunk: ChunkIx) -> Record {
        match self.hash(chunk) {
            Some(hash) => Record::Chunk { chunk, hash },
            None => Record::Claim { chunk },
        }
    }

    /// Returns what goes on appending, and its first record: both belong at
    /// [`Sidecar::valid_len`], where the file was cut before.
    ///
    /// `salt` is drawn by the caller.
    pub fn writer(&self, salt: u64) -> (SidecarWriter, [u8; RECORD_LEN]) {
        let mut writer = self.writer.clone();
        let opened = writer.append(Record::Opened { salt });
        (writer, opened)
    }

    /// Returns the header: the version of the file, its sizes, the salt.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the chunks whose bytes had been synced.
    pub fn durable(&self) -> &ChunkBitmap {
        &self.durable
    }

    /// Returns the chunks that are present and not durable: each is to be hashed before its
    /// first use.
    pub fn claims(&self) -> &ChunkBitmap {
        &self.claims
    }

    /// Returns the chunks that are present: durable ones and claims.
    pub fn present(&self) -> ChunkBitmap {
        let mut present = self.durable.clone();
        for (at, word) in self.claims.words() {
            present.set_word(at, word);
        }
        present
    }

    /// Returns the hashes of chunks that are present; every durable one has its own.
    pub fn hashes(&self) -> &BTreeMap<ChunkIx, ChunkHash> {
        &self.hashes
    }

    /// Returns the hash of a chunk; `None` when it is not present, or claimed without one.
    pub fn hash(&self, chunk: ChunkIx) -> Option<ChunkHash> {
        self.hashes.get(&chunk).copied()
    }

    /// Returns whether whoever wrote last had stopped cleanly.
    pub fn is_clean(&self) -> bool {
        self.clean
    }

    /// Returns whether the sidecar ended in something that is no record.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// Returns how many records counted.
    pub fn records(&self) -> u64 {
        self.writer.records()
    }

    /// Returns how many of the bytes counted: header and records.
    pub fn valid_len(&self) -> u64 {
        self.writer.len()
    }
}

/// A sidecar as far as it was read.
struct Replay {
    header: Header,
    writer: SidecarWriter,
    present: BTreeMap<ChunkIx, Present>,
    /// A chunk whose record is one of the first so many is durable.
    durable_upto: u64,
    clean: bool,
}

/// A chunk that is present as far as was read.
struct Present {
    hash: Option<ChunkHash>,
    /// Which record said so last.
    at: u64,
}

impl Replay {
    /// Reads one record. Returns whether it counted.
    fn read(&mut self, bytes: &[u8; RECORD_LEN]) -> Result<bool, SidecarError> {
        let at = self.writer.records();
        let Some(record) = self.writer.follow(bytes)? else {
            return Ok(false);
        };
        self.clean = record == Record::Clean;
        match record {
            Record::Chunk { chunk, hash } => {
                self.present.insert(
                    chunk,
                    Present {
                        hash: Some(hash),
                        at,
                    },
                );
            }
            Record::Claim { chunk } => {
                self.present
                    .entry(chunk)
                    .or_insert(Present { hash: None, at });
            }
            Record::Lost { chunk } => {
                self.present.remove(&chunk);
            }
            Record::Durable { upto } => self.durable_upto = self.durable_upto.max(upto),
            Record::Clean => self.durable_upto = at,
            Record::Opened { .. } => {}
        }
        Ok(true)
    }

    /// Returns what was read, of a sidecar that had more bytes when it is torn.
    fn finish(self, torn: bool) -> Result<Sidecar, SidecarError> {
        let mut durable = self.header.bitmap()?;
        let mut claims = durable.clone();
        for (&chunk, present) in &self.present {
            let synced = present.hash.is_some() && present.at < self.durable_upto;
            if synced {
                durable.set(chunk)
            } else {
                claims.set(chunk)
            };
        }
        let hashes = self.present.into_iter();
        let hashes = hashes
            .filter_map(|(chunk, present)| Some((chunk, present.hash?)))
            .collect();
        let (header, writer, clean) = (self.header, self.writer, self.clean && !torn);
        Ok(Sidecar {
            header,
            durable,
            claims,
            hashes,
            clean,
            torn,
            writer,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;
    use std::vec;

    use proptest::collection::vec as list_of;
    use proptest::prelude::*;

    use super::*;
    use crate::fetch::error::RecordFault;
    use crate::ids::{ActorId, Dot, NodeId};

    const fn dot(actor: u64, counter: u64) -> Dot {
        Dot {
            actor: ActorId(actor),
            counter,
        }
    }

    const fn object(version: u64) -> ObjectId {
        ObjectId {
            node: NodeId(dot(0xada, 7)),
            version: dot(0xb0, version),
        }
    }

    /// Seven chunks of 100 bytes, the last of which has 50.
    const HEADER: Header = Header {
        object: object(9),
        file_size: 650,
        chunk_size: 100,
        salt: 0x5a17,
    };

    fn chunk(ix: u32, hash: u128) -> Record {
        Record::Chunk {
            chunk: ChunkIx(ix),
            hash: ChunkHash(hash),
        }
    }

    fn lost(ix: u32) -> Record {
        Record::Lost { chunk: ChunkIx(ix) }
    }

    fn written(header: &Header, records: &[Record]) -> Vec<u8> {
        let (mut writer, head) = SidecarWriter::create(header).unwrap();
        let mut bytes = head.to_vec();
        for record in records {
            assert_eq!(writer.len(), bytes.len() as u64);
            bytes.extend_from_slice(&writer.append(*record));
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Sidecar, SidecarError> {
        Sidecar::decode(bytes, Some((object(9), 650)))
    }

    fn ixs(bitmap: &ChunkBitmap) -> Vec<u32> {
        bitmap.held().map(|chunk| chunk.0).collect()
    }

    /// What is said of each chunk: whether it is durable, and its hash. The rest is not here.
    type Said = BTreeMap<u32, (bool, Option<u128>)>;

    fn said(sidecar: &Sidecar) -> Said {
        let hash = |ix| sidecar.hash(ChunkIx(ix)).map(|hash| hash.0);
        let durable = ixs(sidecar.durable())
            .into_iter()
            .map(|ix| (ix, (true, hash(ix))));
        let claims = ixs(sidecar.claims())
            .into_iter()
            .map(|ix| (ix, (false, hash(ix))));
        durable.chain(claims).collect()
    }

    /// The same of a list of records, each applied to every chunk as it comes.
    fn model(records: &[Record]) -> Said {
        let mut said: BTreeMap<u32, (bool, Option<u128>, usize)> = BTreeMap::new();
        for (at, record) in records.iter().enumerate() {
            let upto = match *record {
                Record::Durable { upto } => usize::try_from(upto).unwrap(),
                Record::Clean => at,
                Record::Chunk { chunk, hash } => {
                    said.insert(chunk.0, (false, Some(hash.0), at));
                    0
                }
                Record::Claim { chunk } => {
                    said.entry(chunk.0).or_insert((false, None, at));
                    0
                }
                Record::Lost { chunk } => {
                    said.remove(&chunk.0);
                    0
                }
                Record::Opened { .. } => 0,
            };
            for (durable, hash, said_at) in said.values_mut() {
                *durable |= hash.is_some() && *said_at < upto;
            }
        }
        said.into_iter()
            .map(|(ix, (durable, hash, _))| (ix, (durable, hash)))
            .collect()
    }

    /// A life: two chunks arrive, a sync covers the first, the second proves wrong and comes
    /// again, the process is killed and goes on.
    fn life() -> Vec<Record> {
        vec![
            chunk(0, 10),
            chunk(6, 16),
            Record::Durable { upto: 1 },
            lost(6),
            Record::Opened { salt: 4 },
            chunk(6, 26),
            Record::Claim { chunk: ChunkIx(3) },
        ]
    }

    #[test]
    fn a_chunk_is_durable_only_after_a_sync_that_began_after_it() {
        let sidecar = read(&written(&HEADER, &life())).unwrap();
        assert_eq!(ixs(sidecar.durable()), [0]);
        assert_eq!(ixs(sidecar.claims()), [3, 6]);
        assert_eq!(sidecar.hash(ChunkIx(6)), Some(ChunkHash(26)));
        assert_eq!(sidecar.hash(ChunkIx(3)), None);
        assert_eq!(sidecar.header(), &HEADER);
        assert_eq!((sidecar.records(), sidecar.valid_len()), (7, 65 + 7 * 32));
        assert!(!sidecar.is_clean() && !sidecar.is_torn());
    }

    #[test]
    fn after_a_clean_stop_every_hashed_chunk_is_durable() {
        let mut records = life();
        records.push(Record::Clean);
        let bytes = written(&HEADER, &records);
        let sidecar = read(&bytes).unwrap();
        assert!(sidecar.is_clean());
        assert_eq!(
            (ixs(sidecar.durable()), ixs(sidecar.claims())),
            (vec![0, 6], vec![3])
        );

        let torn = read(&[&bytes[..], &[0]].concat()).unwrap();
        assert!(!torn.is_clean(), "somebody began to write here again");

        let (_, opened) = sidecar.writer(5);
        assert_ne!(opened, sidecar.writer(6).1, "no two openings are alike");
        let sidecar = read(&[&bytes[..], &opened].concat()).unwrap();
        assert!(!sidecar.is_clean(), "somebody writes here again");
        assert_eq!(ixs(sidecar.durable()), [0, 6]);
    }

    #[test]
    fn a_torn_tail_is_cut_and_appended_to_s11() {
        let bytes = written(&HEADER, &life());
        for len in HEADER_LEN..bytes.len() {
            let whole = (len - HEADER_LEN) / RECORD_LEN;
            let sidecar = read(&bytes[..len]).unwrap();
            assert_eq!(said(&sidecar), model(&life()[..whole]));
            assert_eq!(
                sidecar.is_torn(),
                !(len - HEADER_LEN).is_multiple_of(RECORD_LEN)
            );
            assert_eq!(
                sidecar.valid_len(),
                (HEADER_LEN + whole * RECORD_LEN) as u64
            );

            let (mut writer, opened) = sidecar.writer(1);
            let cut = &bytes[..HEADER_LEN + whole * RECORD_LEN];
            let longer = [cut, &opened, &writer.append(chunk(1, 11))].concat();
            let sidecar = read(&longer).unwrap();
            assert!(!sidecar.is_torn() && sidecar.claims().has(ChunkIx(1)));
            assert_eq!(sidecar.writer.len(), writer.len());
        }
        for len in 0..HEADER_LEN {
            let error = read(&bytes[..len]).unwrap_err();
            assert!(matches!(error, SidecarError::Short { len: found, .. } if found == len));
        }
    }

    #[test]
    fn a_flipped_bit_says_nothing_that_was_not_written() {
        let records = life();
        let bytes = written(&HEADER, &records);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match read(&bytes) {
                Err(_) => assert!(bit / 8 < HEADER_LEN, "a broken header is an error"),
                Ok(sidecar) => {
                    let whole = (bit / 8 - HEADER_LEN) / RECORD_LEN;
                    assert_eq!(said(&sidecar), model(&records[..whole]));
                    assert!(sidecar.is_torn() && !sidecar.is_clean());
                }
            }
        }
    }

    /// A power loss tears record 0 out and leaves the word of a sync that stood behind it. The
    /// bytes are gone; the chunk arrives again, the same; a second loss brings the old tail
    /// back. It must not say that the new bytes were synced.
    #[test]
    fn a_stale_tail_does_not_revive_after_a_second_crash() {
        let old = written(
            &HEADER,
            &[chunk(0, 10), Record::Durable { upto: 1 }, Record::Clean],
        );
        let torn = [
            &old[..HEADER_LEN],
            &[0; RECORD_LEN],
            &old[HEADER_LEN + RECORD_LEN..],
        ]
        .concat();
        let sidecar = read(&torn).unwrap();
        assert_eq!(said(&sidecar), Said::new());
        let (mut writer, opened) = sidecar.writer(0xfe);
        let mut again = [&old[..HEADER_LEN], &opened, &writer.append(chunk(0, 10))].concat();
        again.extend_from_slice(&old[again.len()..]);
        let sidecar = read(&again).unwrap();
        assert_eq!(said(&sidecar), Said::from([(0, (false, Some(10)))]));
        assert!(sidecar.is_torn());
    }

    #[test]
    fn another_sidecar_is_refused_and_the_difference_is_named_s29() {
        let bytes = written(&HEADER, &life());
        let error = |object, size| Sidecar::decode(&bytes, Some((object, size))).unwrap_err();
        assert_eq!(
            error(object(9), 651).to_string(),
            "it is of a file of 650 bytes, not 651"
        );
        assert_eq!(
            error(object(8), 650),
            SidecarError::OtherObject {
                found: object(9),
                wanted: object(8)
            }
        );
        assert_eq!(
            Sidecar::decode(&ChunkBitmap::new(650).unwrap().encode(), None).unwrap_err(),
            SidecarError::Version {
                found: 1,
                wanted: 2
            }
        );
        let mut future = bytes.clone();
        future[4] = 3;
        assert_eq!(
            read(&future).unwrap_err(),
            SidecarError::Future {
                found: 3,
                newest: 2
            }
        );
        let mut flipped = bytes.clone();
        flipped[50] ^= 1;
        assert!(matches!(
            read(&flipped).unwrap_err(),
            SidecarError::Header { .. }
        ));
        for (header, error) in [
            (
                Header {
                    file_size: 0,
                    ..HEADER
                },
                SidecarError::SizeZero,
            ),
            (
                Header {
                    file_size: u64::MAX,
                    ..HEADER
                },
                SidecarError::SizeAbsurd(u64::MAX),
            ),
            (
                Header {
                    chunk_size: 0,
                    ..HEADER
                },
                SidecarError::ChunkSize(0),
            ),
            (
                Header {
                    chunk_size: 1,
                    file_size: 1 << 40,
                    ..HEADER
                },
                SidecarError::ChunkSize(1),
            ),
        ] {
            assert_eq!(Sidecar::decode(&header.encode(), None).unwrap_err(), error);
        }
    }

    /// A record with a right checksum comes from a program, which lied.
    #[test]
    fn an_impossible_record_is_refused_and_named() {
        let append = |record: Record| {
            let bytes = written(&HEADER, &[chunk(0, 10)]);
            let chain = u64::from_le_bytes(*bytes.last_chunk().unwrap());
            [&bytes[..], &record.encode(chain).0].concat()
        };
        let refused = |record, fault| {
            let error = read(&append(record)).unwrap_err();
            assert_eq!(error, SidecarError::Record { at: 1, fault });
        };
        refused(chunk(7, 1), RecordFault::Chunk { chunk: 7, total: 7 });
        refused(
            lost(u32::MAX),
            RecordFault::Chunk {
                chunk: u32::MAX,
                total: 7,
            },
        );
        refused(Record::Durable { upto: 2 }, RecordFault::Upto { upto: 2 });
        assert_eq!(
            read(&append(lost(9))).unwrap_err().to_string(),
            "its record 1 names chunk 9 of 7"
        );
        assert_eq!(
            read(&append(Record::Durable { upto: 1 }))
                .unwrap()
                .durable()
                .have(),
            1
        );
    }

    /// Written by a script from the tables, with another implementation of xxh3.
    #[test]
    fn the_golden_file_of_version_2_is_read_and_written_bit_for_bit() {
        let golden = include_bytes!("../../tests/golden/life.v2.kdbitmap");
        assert_eq!(written(&HEADER, &life()), golden);
        assert_eq!(said(&read(golden).unwrap()), model(&life()));
    }

    #[test]
    fn version_1_becomes_claims_and_goes_back_bit_for_bit() {
        let mut bitmap = ChunkBitmap::with_chunk_size(650, 100).unwrap();
        bitmap.set_range(200, 450);
        let v1 = bitmap.encode();
        let sidecar = Sidecar::from_v1(bitmap.clone(), object(9), 3);
        assert_eq!((sidecar.claims(), sidecar.durable().have()), (&bitmap, 0));
        assert!(sidecar.hashes().is_empty());
        assert_eq!(sidecar.to_v1(), v1);
        assert_eq!(read(&sidecar.encode(3)).unwrap(), sidecar);
    }

    /// Records by construction valid, for seven chunks.
    fn records() -> impl Strategy<Value = Vec<Record>> {
        let record = (0..6u8, 0..7u32, any::<u128>(), any::<u64>());
        list_of(record, 0..24).prop_map(|drawn| {
            (0..)
                .zip(drawn)
                .map(|(at, (kind, ix, hash, word))| match kind {
                    0 => Record::Durable {
                        upto: word % (at + 1),
                    },
                    1 => lost(ix),
                    2 => Record::Claim { chunk: ChunkIx(ix) },
                    3 if word % 4 == 0 => Record::Clean,
                    3 => Record::Opened { salt: word },
                    _ => chunk(ix, hash),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn it_says_what_was_written(records in records()) {
            let sidecar = read(&written(&HEADER, &records)).unwrap();
            prop_assert_eq!(said(&sidecar), model(&records));
            prop_assert_eq!(sidecar.is_clean(), records.last() == Some(&Record::Clean));
            prop_assert!(sidecar.durable().held().all(|chunk| !sidecar.claims().has(chunk)));
            let present = sidecar.durable().have() + sidecar.claims().have();
            prop_assert_eq!(sidecar.present().have(), present);
        }

        #[test]
        fn the_shortest_form_says_the_same(records in records(), salt in any::<u64>()) {
            let sidecar = read(&written(&HEADER, &records)).unwrap();
            let short = read(&sidecar.encode(salt)).unwrap();
            prop_assert_eq!(said(&short), said(&sidecar));
            prop_assert!(short.records() <= u64::from(sidecar.present().have()) + 1);
            prop_assert_eq!(short.header().salt, salt);
        }

        /// Whatever a crash leaves of each page behind a point: the tail of one life, zeros, or
        /// noise in the place of some of its bytes.
        #[test]
        fn a_mangled_sidecar_says_what_a_prefix_said(
            records in records(),
            noise in list_of((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let good = written(&HEADER, &records);
            let mut bytes = good.clone();
            for (at, byte) in noise {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let same = good.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
            match read(&bytes) {
                Err(error) => prop_assert!(same < HEADER_LEN, "{}", format!("{error}")),
                Ok(sidecar) => {
                    let whole = (same - HEADER_LEN) / RECORD_LEN;
                    prop_assert_eq!(said(&sidecar), model(&records[..whole]));
                }
            }
        }

        #[test]
        fn noise_is_no_sidecar(bytes in list_of(any::<u8>(), 0..200)) {
            prop_assert!(Sidecar::decode(&bytes, None).is_err());
        }
    }
}
