//! Sidecars: one that lies is refused with a reason, and the download starts over from what
//! verifies.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::proxy::Proxy;
use crate::common::until;
use crate::common::world::{Host, User, World};

const SIZE: u64 = 48 * CHUNK + 1_000;

/// Version 1 sidecars that were written by hand, and what they say.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/golden");

/// A `get` that was killed half-way, and what it left: the partial file and its sidecar.
struct Half {
    world: World,
    host: Host,
    _proxy: Proxy,
    user: User,
    out: PathBuf,
    partial: PathBuf,
    sidecar: PathBuf,
}

impl Half {
    fn new() -> Self {
        let world = World::new();
        let dir = world.mkdir("dir");
        write_file(&dir.join("big"), 1, SIZE);
        let (host, proxy) = world.share_behind("dir");
        let out = world.mkdir("out");
        let user = world.user("guest");
        proxy.limit(12 << 20);
        let running = user.start(["get", &host.ticket(), "big", "-o", out.to_str().unwrap()]);
        let sidecar = out.join(".big.tandem-part.kdbitmap");
        until("a third is stored", || {
            let len = fs::metadata(&sidecar).ok()?.len();
            (len > 65 + 32 * SIZE / CHUNK / 3).then_some(())
        });
        running.kill();
        proxy.limit(0);
        Self {
            partial: out.join(".big.tandem-part"),
            sidecar,
            world,
            host,
            _proxy: proxy,
            user,
            out,
        }
    }

    /// Goes on with the download, which must succeed and be exact. Returns what was said, and
    /// how many bytes the host served for it.
    #[track_caller]
    fn finish(&self, what: &str) -> (String, u64) {
        let before = self.host.status().counter("bytes_served");
        let args = [
            "get",
            &self.host.ticket(),
            "big",
            "-o",
            self.out.to_str().unwrap(),
        ];
        let said = self.user.run(args).ok();
        let bytes = fs::read(self.out.join("big")).unwrap();
        assert!(
            bytes == pattern(1, 0, usize::try_from(SIZE).unwrap()),
            "{what}: not exact"
        );
        (
            said.err,
            self.host.status().counter("bytes_served") - before,
        )
    }

    fn copy(&self, from: &Path, to: &Path) {
        self.world
            .run(Command::new("cp").arg("--sparse=always").args([from, to]))
            .ok();
    }
}

/// What is done to a sidecar.
type Harm = fn(&mut Vec<u8>);

/// S11, S29, S32: each harm is found, said, and mended: the result is exact. Where the harm is
/// only a torn tail, as a power loss leaves it, nothing needs to be said.
#[test]
fn a_harmed_sidecar_is_found_and_the_result_exact_s29_s32() {
    let harms: [(&str, bool, Harm); 9] = [
        ("cut to nothing", true, Vec::clear),
        ("cut within its header", true, |bytes| bytes.truncate(40)),
        ("cut within a record", false, |bytes| {
            bytes.truncate(65 + 32 * 4 + 7);
        }),
        ("a bit of its header flipped", true, |bytes| {
            bytes[6] ^= 0x10;
        }),
        ("a bit of a record flipped", false, |bytes| {
            bytes[65 + 32 * 2 + 9] ^= 1;
        }),
        ("of another file", true, |bytes| bytes[25] ^= 0xff),
        ("from the future", true, |bytes| bytes[4] = 9),
        ("no sidecar at all", true, |bytes| {
            bytes[..4].copy_from_slice(b"PK\x03\x04");
        }),
        ("noise", true, |bytes| *bytes = pattern(77, 0, 5_000)),
    ];
    let half = Half::new();
    let good = fs::read(&half.sidecar).unwrap();
    let kept = half.world.path("kept");
    half.copy(&half.partial, &kept);
    for (what, is_said, harm) in harms {
        let mut bytes = good.clone();
        harm(&mut bytes);
        let _ = fs::remove_file(half.out.join("big"));
        half.copy(&kept, &half.partial);
        fs::write(&half.sidecar, bytes).unwrap();
        let (said, _) = half.finish(what);
        assert!(
            !is_said || said.contains("starts over"),
            "{what}: nothing was said: {said}"
        );
        assert!(
            !half.sidecar.exists() && !half.partial.exists(),
            "{what}: something was left"
        );
    }
    // And unharmed, it saves what was there.
    let _ = fs::remove_file(half.out.join("big"));
    half.copy(&kept, &half.partial);
    fs::write(&half.sidecar, good).unwrap();
    let (_, served) = half.finish("unharmed");
    assert!(
        served < SIZE * 5 / 6,
        "{served} bytes were fetched again of {SIZE}"
    );
}

/// Version 1 sidecars whose counters lie, or that are of another size, are refused. The bits of
/// one that is well made are claims: what is there is hashed and named, and only what its owner
/// does not find the same is served. So true claims cost what is missing, and lies what they lie
/// about.
#[test]
fn a_lying_version_1_sidecar_is_refused_s29() {
    let half = Half::new();
    let kept = half.world.path("kept");
    half.copy(&half.partial, &kept);
    let total = u32::try_from(SIZE.div_ceil(CHUNK)).unwrap();
    let version_1 = |size: u64, have: u32, bits: u64| {
        let mut bytes = b"KDBM\x01".to_vec();
        bytes.extend_from_slice(&size.to_le_bytes());
        for number in [total, have, 524_288] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&bits.to_le_bytes());
        bytes
    };
    let all = (1 << total) - 1;
    // What is there, whatever any sidecar says of it: the rest of the file is a hole.
    let bytes = fs::read(&kept).unwrap();
    let truth = pattern(1, 0, usize::try_from(SIZE).unwrap());
    let chunk = usize::try_from(CHUNK).unwrap();
    let pieces = bytes.chunks(chunk).zip(truth.chunks(chunk)).enumerate();
    let (mut there, mut held) = (0u64, 0);
    for (ix, (piece, true_piece)) in pieces {
        if piece == true_piece {
            there |= 1 << ix;
            held += piece.len() as u64;
        }
    }
    let count = there.count_ones();
    assert!(0 < count && count < total, "{count} of {total} are there");
    for (what, is_said, sidecar, served_max) in [
        (
            "all claimed",
            false,
            version_1(SIZE, total, all),
            SIZE - held,
        ),
        ("no lie", false, version_1(SIZE, count, there), SIZE - held),
        ("a lying counter", true, version_1(SIZE, total, 1), SIZE),
        (
            "of another size",
            true,
            version_1(SIZE - 1, total, all),
            SIZE,
        ),
        (
            "bits beyond the end",
            true,
            version_1(SIZE, 64, u64::MAX),
            SIZE,
        ),
    ] {
        let _ = fs::remove_file(half.out.join("big"));
        half.copy(&kept, &half.partial);
        fs::write(&half.sidecar, sidecar).unwrap();
        let (said, served) = half.finish(what);
        assert_eq!(is_said, said.contains("starts over"), "{what}: {said}");
        assert!(
            served <= served_max,
            "{what}: {served} bytes were served; {served_max} were missing"
        );
    }
}

/// P1, S11: bytes that rotted, or never reached the partial file, under a sidecar that claims
/// them: after a kill they are claims, hashed before use.
#[test]
fn claimed_bytes_are_hashed_after_a_kill_s11() {
    let half = Half::new();
    let partial = File::options().write(true).open(&half.partial).unwrap();
    for chunk in 0..SIZE / CHUNK {
        let bytes = if chunk % 2 == 0 {
            vec![0; 4_096]
        } else {
            pattern(5, 0, 3)
        };
        partial
            .write_all_at(&bytes, chunk * CHUNK + 10_000)
            .unwrap();
    }
    half.finish("rotten");
}

/// The same in the store of a joined folder, for its sidecars and its bytes.
#[test]
fn a_harmed_store_is_found_and_reads_are_exact_s29() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("big"), 1, SIZE);
    let host = world.share("dir");
    let mut joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("big", SIZE);
    for (round, harm) in [0, 1, 2, 3].into_iter().enumerate() {
        let open = File::open(&path).unwrap();
        for chunk in [0, 3, 7, 11 + round as u64] {
            let mut bytes = vec![0; 4_096];
            open.read_exact_at(&mut bytes, chunk * CHUNK).unwrap();
            assert!(bytes == pattern(1, chunk * CHUNK, 4_096));
        }
        drop(open);
        joiner.kill();
        let partial = joiner.store.join("partial");
        let mut sidecars = 0;
        for entry in fs::read_dir(&partial).unwrap() {
            let entry = entry.unwrap().path();
            let is_sidecar = entry.extension() == Some(OsStr::new("kdbitmap"));
            sidecars += u32::from(is_sidecar);
            let mut bytes = fs::read(&entry).unwrap();
            match harm {
                0 if is_sidecar => bytes.truncate(30),
                1 if is_sidecar => bytes[7] ^= 1,
                2 if is_sidecar => bytes[4] = 200,
                3 if !is_sidecar => bytes[3 * 524_288 + 5] ^= 1,
                _ => continue,
            }
            fs::write(&entry, bytes).unwrap();
        }
        assert_eq!(sidecars, 1, "the file is not partial");
        let said = joiner.err();
        joiner.restart();
        let mut bytes = vec![0; 4_096];
        let open = File::open(&path).unwrap();
        for chunk in [0, 3, 7] {
            open.read_exact_at(&mut bytes, chunk * CHUNK).unwrap();
            assert!(bytes == pattern(1, chunk * CHUNK, 4_096), "harm {harm}");
        }
        let new = joiner.err().split_off(said.len());
        // Bytes that a kill left unsynced are claims: that they do not verify is no news.
        assert!(
            harm == 3 || new.contains("starts over"),
            "harm {harm}: {new}"
        );
    }
    assert!(fs::read(&path).unwrap() == pattern(1, 0, usize::try_from(SIZE).unwrap()));
}

/// `tandem bitmap` shows what a sidecar says, of either version, converts, and refuses lies.
#[test]
fn bitmap_shows_and_refuses() {
    let world = World::new();
    let user = world.user("mo");
    let golden = |name: &str| Path::new(GOLDEN).join(name);
    let show = |path: &Path| user.run([OsStr::new("bitmap"), path.as_os_str()]);
    for (name, chunks, size) in [
        ("three.kdbitmap", "3", "1179647"),
        ("whole.kdbitmap", "1", "7"),
        ("two-words.kdbitmap", "65", "65"),
    ] {
        let said = show(&golden(name)).ok();
        let text = said.text().replace([',', '_'], "");
        assert!(
            text.contains(chunks) && text.contains(size),
            "{name}: {text}"
        );
    }
    show(&golden("life.v2.kdbitmap")).ok();
    let three = fs::read(golden("three.kdbitmap")).unwrap();
    let lies: [(&str, Harm); 6] = [
        ("short", |bytes| bytes.truncate(20)),
        ("long", |bytes| bytes.push(0)),
        ("magic", |bytes| bytes[0] = b'X'),
        ("future", |bytes| bytes[4] = 9),
        ("count", |bytes| bytes[17] = 3),
        ("beyond", |bytes| bytes[25] = 0xff),
    ];
    for (what, lie) in lies {
        let mut bytes = three.clone();
        lie(&mut bytes);
        let path = world.path(what);
        fs::write(&path, bytes).unwrap();
        let said = show(&path).fails(1);
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
}
