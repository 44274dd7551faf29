//! The host is gone: what is here goes on, the rest fails in time, and comes back by itself.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use crate::common::pattern::{CHUNK, pattern, write_file};
use crate::common::until;
use crate::common::world::{Host, Joiner, World};

const CHUNKS: u64 = 16;
const SIZE: u64 = CHUNKS * CHUNK + 99;

/// The read deadline that the joiners here are given.
const DEADLINE: Duration = Duration::from_secs(5);

/// A file of which the joiner has the first two chunks and the last.
fn half_read(world: &World) -> (Host, Joiner, File) {
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 7, SIZE);
    fs::create_dir(dir.join("sub")).unwrap();
    for name in 0..50 {
        fs::write(dir.join(format!("sub/{name}")), "small").unwrap();
    }
    let host = world.share("dir");
    let user = world
        .user("mo")
        .with("TANDEM_READ_DEADLINE", &format!("{}s", DEADLINE.as_secs()));
    let joiner = world.join_as(user, "mo", &host.ticket());
    let file = File::open(joiner.sees("file", SIZE)).unwrap();
    fadvise(&file, 0, None, Advice::Random).unwrap();
    for chunk in [0, 1, CHUNKS] {
        let len = usize::try_from(CHUNK.min(SIZE - chunk * CHUNK)).unwrap();
        assert!(read(&file, chunk * CHUNK, len).unwrap() == pattern(7, chunk * CHUNK, len));
    }
    let seen = joiner.status().file("file").expect("it was read");
    assert_eq!(seen.number("chunks_present"), 3);
    (host, joiner, file)
}

fn read(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0xee; len];
    let got = file.read_at(&mut bytes, offset)?;
    bytes.truncate(got);
    Ok(bytes)
}

fn is_eio(result: &io::Result<Vec<u8>>) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()))
}

/// P1, P9, S21, S24, U1: the whole story on one open descriptor.
#[test]
fn a_killed_host_fails_only_what_is_absent_and_comes_back_s21_s24() {
    let world = World::new();
    let (mut host, joiner, file) = half_read(&world);
    host.kill();

    // While a read of absent bytes waits, everything that is known answers.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let absent = scope.spawn(|| {
            let result = read(&file, 5 * CHUNK, 65_536);
            over.store(true, Ordering::SeqCst);
            result
        });
        thread::sleep(Duration::from_millis(200));
        let listed = world
            .run(Command::new("ls").arg("-lR").arg(&joiner.mnt))
            .ok();
        assert_eq!(listed.text().matches("small").count(), 0);
        assert_eq!(fs::metadata(joiner.path("sub/7")).unwrap().len(), 5);
        assert!(read(&file, CHUNK, 100_000).unwrap() == pattern(7, CHUNK, 100_000));
        let again = File::open(joiner.path("file")).unwrap();
        assert!(read(&again, 0, 4_096).unwrap() == pattern(7, 0, 4_096));
        assert!(
            !over.load(Ordering::SeqCst),
            "what is known waited for what is not"
        );
        let result = absent.join().unwrap();
        assert!(
            is_eio(&result),
            "EIO was wanted, never zeros, never short: {result:?}"
        );
    });

    // The link has been gone for a deadline: further reads fail at once.
    let begun = Instant::now();
    assert!(is_eio(&read(&file, 9 * CHUNK, 4_096)));
    assert!(is_eio(&read(&file, 10 * CHUNK + 5, 4_096)));
    assert!(
        begun.elapsed() < 2 * DEADLINE,
        "two reads waited for a host that is long gone"
    );
    assert!(joiner.status().counter("reads_failed") >= 3);
    assert!(!joiner.status().links().contains(&"live".to_owned()));

    host.start();
    let bytes = until("the read goes on by itself", || {
        read(&file, 5 * CHUNK, 65_536).ok()
    });
    assert!(bytes == pattern(7, 5 * CHUNK, 65_536));
    let whole = fs::read(joiner.path("file")).unwrap();
    assert!(whole == pattern(7, 0, usize::try_from(SIZE).unwrap()));
    assert_eq!(joiner.status().links(), ["live"]);
}

/// A kernel reads ahead, and asks once more for the page itself when that fails: the application
/// waited for two deadlines.
#[test]
fn a_read_that_is_read_ahead_waits_for_one_deadline() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 7, SIZE);
    let (host, proxy) = world.share_behind("dir");
    let deadline = format!("{}s", DEADLINE.as_secs());
    let user = world
        .user("mo")
        .with("TANDEM_READ_DEADLINE", &deadline)
        .with("TANDEM_HEARTBEAT", "1s");
    let joiner = world.join_as(user, "mo", &host.ticket());
    let file = File::open(joiner.sees("file", SIZE)).unwrap();
    // It is not known yet that nobody is there.
    proxy.pause(true);
    let begun = Instant::now();
    assert!(is_eio(&read(&file, 5 * CHUNK, 4_096)));
    let took = begun.elapsed();
    assert!(took < 2 * DEADLINE - Duration::from_secs(1), "{took:?}");
    proxy.pause(false);
    until("the read goes on by itself", || {
        read(&file, 5 * CHUNK, 4_096).ok()
    });
}

/// S24: a read that waits when the host comes back in time is answered with its bytes.
#[test]
fn a_waiting_read_lives_through_a_restart_of_the_host_s24() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 7, SIZE);
    let mut host = world.share("dir");
    let joiner = world.join("mo", &host.ticket());
    let file = File::open(joiner.sees("file", SIZE)).unwrap();
    host.kill();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| read(&file, 3 * CHUNK, 8_192));
        thread::sleep(Duration::from_millis(300));
        host.start();
        assert!(waiting.join().unwrap().unwrap() == pattern(7, 3 * CHUNK, 8_192));
    });
}

/// P9, S24: a link that says nothing is found out by its heartbeats; when it speaks again, reads
/// go on.
#[test]
fn a_pulled_cable_ends_in_eio_and_heals_s24() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 8, SIZE);
    let (host, proxy) = world.share_behind("dir");
    let user = world
        .user("mo")
        .with("TANDEM_READ_DEADLINE", "3s")
        .with("TANDEM_HEARTBEAT", "500ms");
    let joiner = world.join_as(user, "mo", &host.ticket());
    let file = File::open(joiner.sees("file", SIZE)).unwrap();
    assert!(read(&file, 0, 4_096).unwrap() == pattern(8, 0, 4_096));
    proxy.pause(true);
    let result = read(&file, 7 * CHUNK, 4_096);
    assert!(is_eio(&result), "{result:?}");
    until("the silence is noticed", || {
        (!joiner.status().links().contains(&"live".to_owned())).then_some(())
    });
    proxy.pause(false);
    let bytes = until("reads go on", || read(&file, 7 * CHUNK, 4_096).ok());
    assert!(bytes == pattern(8, 7 * CHUNK, 4_096));
}

/// S21: link after link is cut, in any state; nothing hangs, leaks or panics.
#[test]
fn sixty_reconnects_leave_one_live_link_s21() {
    let world = World::new();
    let dir = world.mkdir("dir");
    write_file(&dir.join("file"), 9, SIZE);
    let (host, proxy) = world.share_behind("dir");
    let joiner = world.join("mo", &host.ticket());
    let path = joiner.sees("file", SIZE);
    for _ in 0..60 {
        proxy.cut();
        thread::sleep(Duration::from_millis(15));
    }
    until("the link is live", || {
        (joiner.status().links() == ["live"]).then_some(())
    });
    assert!(fs::read(path).unwrap() == pattern(9, 0, usize::try_from(SIZE).unwrap()));
    for err in [host.err(), joiner.err()] {
        assert!(!err.contains("panicked"), "{err}");
    }
}
