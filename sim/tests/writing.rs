//! Whole writing runs (`--writing`) that found something, and what. They stand for more than a
//! named story of the core where several things had to meet.

mod range;

use std::sync::atomic::Ordering;

use tandem_sim::config::WRITING;
use tandem_sim::reach::expected_of_writing;
use tandem_sim::run::run;

const FOUND: &[(u64, &str)] = &[
    (
        0x11a,
        "what was written before a removal stood in the file's conflict copy, at its author's alone",
    ),
    (
        0x120,
        "the bytes of a conflict copy that somebody had open went with its last name",
    ),
    (
        0x12a,
        "what was written beside an append was taken for what lies beneath it",
    ),
    (
        0x20e,
        "a host asked one peer for a chunk as one version, and another as another, round after round",
    ),
    (
        0x286,
        "what waited for a commit to be removed was of use again, and went while it was looked at",
    ),
    (
        0x2f7,
        "each of two deleted one of a file's two names, and it was gone; who emptied a file emptied \
         what came meanwhile",
    ),
    (
        0x2fb,
        "a conflict copy went while it was written, with the conflict",
    ),
    (
        0x316,
        "what lay beneath a draft was synced under the name that it had just lost",
    ),
    (
        0x317,
        "the hashes of a version that two files held went with one of them",
    ),
    (
        0x338,
        "an edited conflict copy went with the version that it was made of",
    ),
    (
        0x3ab,
        "what was wanted again while it was on its way was asked for again",
    ),
    (0x3c3, "a pipe stood where a peer's file should"),
    (
        0x3f2,
        "a joiner claimed to know what another was yet to tell, and nobody ever heard of that",
    ),
    (
        0x412,
        "a removed directory could not go, since it held a pipe",
    ),
    (0x49f, "a set-id bit that a peer cleared stayed"),
    (
        0x4ce,
        "a file and its conflict copy were put down with one object at once",
    ),
    (
        0x4f9,
        "after a power loss a version said of a torn chunk that it was the one beneath",
    ),
    (
        0x5bd,
        "a file was gone with one of the two names that showed it",
    ),
    (
        0x5f0,
        "a file that lay out of the way was taken there by its second name too, without end",
    ),
    (0x792, "a file was published while it was being written"),
    (
        0x290c,
        "everybody was told of a version whose journal a power loss had taken",
    ),
    (
        0x29ed,
        "a kill right after a power loss hid that there had been one",
    ),
    (
        0x2b6a,
        "what was written to an unlinked file went on a version that it had not shown",
    ),
    (
        0x4eaa,
        "what was gone was asked for a hundred times a second, for ever",
    ),
    (
        0x4fe7,
        "a chunk that a conflict copy's version has here was fetched",
    ),
    (0x79bd, "half of a file's first write was a version"),
    (
        0x7bdf,
        "what was written for nobody was shown when the file had a name again",
    ),
    (
        0xea63,
        "a file that lost had two names: its conflict copy took over one, and was one with the other",
    ),
    (
        0xeaad,
        "a file that was saved over before it could be put out of the way was tried without end",
    ),
    (
        0x13a75,
        "what a power loss left on a mount, and a program removed in the folder, was owed after that",
    ),
    (
        0xeb9a,
        "a file was replaced while its other name lay out of the way, and that was tried without end",
    ),
    (
        0x1390a,
        "what lay out of the way was thrown away as if it were what had come in its place",
    ),
    (
        0x13a81,
        "what the kernel had of a file that was open and forgotten was not taken back",
    ),
    (
        0x138c7,
        "what the disk refused to put into the folder was fetched anew for the next version",
    ),
    (
        0xeb8d,
        "while a draft could not be found, calls waited each time that the disk was asked for it",
    ),
    (
        0x4961c,
        "what a program wrote to a file that lay out of the way was never looked at",
    ),
    (
        0x13b6d,
        "what a peer made in a directory that the kernel had forgotten was held against the mount",
    ),
    (
        0x13c69,
        "what went with its directory before it could be parked was on its way there for ever",
    ),
    (
        0x13e28,
        "a draft that the disk did not let begin cost what lay beneath it",
    ),
    (
        0x495a5,
        "a draft whose journal was refused, and then its sidecar, was said to be lost",
    ),
    (
        0x495a9,
        "a draft that was killed before it began, and once more, was said to be lost",
    ),
    (
        0x138dd,
        "a name whose file its owner renamed before it could be put out of the way stayed in use",
    ),
    (
        0x13baa,
        "a file and its conflict copy were found equal while the end was judged",
    ),
    (
        0x13bfe,
        "a guest had all of a version that the host had lost",
    ),
    (
        0x496a0,
        "what a joiner needed of another that came back later was never asked for again",
    ),
    (
        0x496a3,
        "a version that a joiner kept, and had not looked at since, was said to be gone",
    ),
    (
        0x496cf,
        "two joiners waited for each other, each for the chunk of the other's version",
    ),
    (
        0x497a3,
        "who had what lies beneath a draft came when whoever wrote that had given up",
    ),
    (
        0x497be,
        "a host had no room for what it was to pass on, and said that it was gone",
    ),
    (
        0x13b36,
        "what nobody had was asked for twice a second, for ever",
    ),
    (
        0x310d0,
        "an acknowledgement that came twice was taken for that of what was told next",
    ),
    (
        0x49608,
        "a conflict copy was one file with a name of what had won",
    ),
    (
        0x496d5,
        "what was heard and not stored was taken for stored on the next link",
    ),
    (
        0x4947e,
        "a moved file was told anew, and what a peer had begun to make of it before was refused him",
    ),
    (
        0xdc348,
        "what a program made in a directory that went out of the way stayed there, unseen",
    ),
    (
        0xdc735,
        "the kernel took a name for gone that its delete had left to an edit that was not seen",
    ),
    (
        0x61d66,
        "what a program took away while its author lay without power was owed when that was back",
    ),
    (
        0xaaeab,
        "the disk refused a draft's end, and had done it: what it was written over was to be synced",
    ),
    (
        0xc5ce0,
        "a kernel kept pages of what it had given back, and never heard that they were old",
    ),
    (
        0xc3bff,
        "a conflict copy that was written after its name was gone had the attributes of nobody",
    ),
    (
        0xc3c61,
        "a file that was removed while it was written was there again, as its conflict copy",
    ),
    (
        0xc3a4c,
        "who waited to cut a file that he had been shown was said to have seen nothing of it",
    ),
    (
        0xc3906,
        "what another mount went on from while its author lay without power was owed after that",
    ),
    (
        0xc3928,
        "a conflict copy of a file with the name of one was not taken for what stands in the place of that",
    ),
    (
        0xc86a6,
        "what a disk's error had left of a file was looked for in what a peer had put in its place",
    ),
    (
        0xc86b5,
        "a delete that was said again ended a file under the name that an edit had kept",
    ),
    (
        0xdc728,
        "what came when the attempts at the rest had run out did not begin them anew",
    ),
    (
        0xde5c7,
        "an inode number that no commit had taken before the kill was another one after it",
    ),
    (
        0xc8889,
        "what was removed was there again when what was left of the file was renamed",
    ),
    (
        0xc8466,
        "two joiners had each room for one chunk only, which waited for the other one",
    ),
    (
        0xc8812,
        "what lies beneath a draft waited for room that its asker kept, through a third one",
    ),
    (
        0xc89f0,
        "what lies beneath a draft was waited for until that was given up, and asked for once more beside it",
    ),
    (
        0xdbbb9,
        "what came for a draft that the disk refused to remove, and had removed, was stored",
    ),
    (
        0xde6ad,
        "a power loss took what hid another's version, and that was taken for what was written",
    ),
    (
        0xe33bf,
        "a conflict copy lost the time that was set by hand when it got attributes of its own",
    ),
    (
        0xe397c,
        "what a draft had lost was read as the conflict copy, out of the file that was written over",
    ),
    (
        0x2dca15,
        "an extended attribute brought a name back that a peer had removed, and the kernel was not told how many names there are",
    ),
    (
        0xe3927,
        "a host asked for a chunk as one version while it stored it as that",
    ),
    (
        0xe3964,
        "what lies beneath a draft was fetched as a version that was here",
    ),
    (
        0x712,
        "a host passed on a chunk that it had as another version's",
    ),
    (
        0x1e8896,
        "what was to be removed, and was, though the disk refused that, was needed again by the next \
         start",
    ),
    (
        0x1e96fe,
        "a host had given up what its author lacked a part of, and then got of the host",
    ),
    (
        0x6ad016,
        "of what a power loss left open, and a program overwrote beneath, a copy is left in part",
    ),
    (
        0x6ad370,
        "a power loss took a part of what another's version had displaced",
    ),
    (
        0x3d0e00,
        "a file whose name was deleted while no kernel knew it came back, and was not here",
    ),
    (
        0x5b9190,
        "a file was replaced here and moved at the host, and was there again without what was read",
    ),
    (
        0x6adb1f,
        "who made a file opened one that had come a moment before",
    ),
    (
        0x6ad7c6,
        "what a power loss had left was nothing once a host had never heard of it",
    ),
    (
        0x6aeca7,
        "a mount and a program emptied one file apart, and who went on from that went on from both",
    ),
    (
        0x6aeb7e,
        "each of two took one name of two, and what both had seen went, beside an edit that neither knew",
    ),
    (
        0x8956a7,
        "a write that a disk refused left open whether a byte was of what was beneath, which was nowhere",
    ),
    (0x6adb3f, "the same, of what its author wrote over"),
    (
        0x6ae4e2,
        "a start that was killed early had drawn numbers of a higher block than the next one",
    ),
    (
        0x6adaf2,
        "a host passed on a chunk that it had as another version's, though it had others of that version",
    ),
];

/// How many seeds reach together what writing runs are there for.
const SEEDS: u64 = 1000;

#[test]
fn no_writing_seed_of_the_range_breaks_a_promise() {
    WRITING.store(true, Ordering::Relaxed);
    range::met(&range::hold(SEEDS), expected_of_writing());
}

#[test]
fn seeds_that_found_something_hold() {
    WRITING.store(true, Ordering::Relaxed);
    for (seed, story) in FOUND {
        assert_eq!(run(*seed, &[], false).failure, None, "{seed:#x}: {story}");
    }
}
