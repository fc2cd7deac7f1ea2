//! Imports that meet each other, and imports that are killed.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use image::{Images, Limits};
use jiff::Timestamp;

use crate::tape::{Store, Tape, image_name, memory, names};

/// Big enough to be interrupted in the middle.
fn archive() -> Vec<u8> {
    let data: Vec<u8> = (0..6_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    (0..400).fold(Tape::default(), |tape, index| tape.file(&format!("directory-{}/{index}", index % 20), &data)).end()
}

fn check(images: &Images, directory: &Path) {
    let image = images.find(&image_name("crash")).expect("readable").expect("imported");
    let layers = images.layers(&image);
    assert_eq!(layers.len(), 1);
    assert_eq!(names(&layers[0]).len(), 20);
    assert_eq!(image.size, 400 * 6_000);
    assert_eq!(names(&directory.join("tmp")), [""; 0]);
    assert_eq!(names(&directory.join("l")).len(), 1);
    assert_eq!(names(&directory.join("blobs/sha256")).len(), 2);
}

#[test]
fn the_same_image_imported_many_times_at_once_is_one_image() {
    let store = Store::new();
    let archive = archive();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store.import_as(&archive, "crash").expect("imported"));
        }
        // Removals of something else wait their turn and take nothing that is about to be used.
        scope.spawn(|| {
            for index in 0..20 {
                store.import_as(&Tape::default().file("x", &[index; 10]).end(), "other").expect("imported");
                store.images.remove(&image_name("other"), None, &Default::default()).expect("removed");
                store.images.list().expect("readable");
            }
        });
    });
    check(&store.images, &store.path());
}

#[test]
fn opening_the_store_again_leaves_a_running_import_alone() {
    let store = Store::new();
    let archive = archive();
    thread::scope(|scope| {
        let import = scope.spawn(|| store.import_as(&archive, "crash"));
        while !import.is_finished() {
            Images::open(&store.path(), Limits::default()).expect("opens");
        }
        import.join().expect("no panic").expect("imported");
    });
    check(&store.images, &store.path());
}

/// By itself: an import from a pipe into a store of its own. Below: the same, killed.
#[test]
fn an_import_from_a_pipe() {
    let given = std::env::var_os("FABRIC_IMAGES").map(PathBuf::from);
    // None of its own for a child that is going to be killed: nobody would remove it.
    let own = given.is_none().then(memory);
    let directory = own.as_ref().map_or_else(|| given.clone().unwrap_or_default(), |own| own.path().join("images"));
    let images = Images::open(&directory, Limits::default()).expect("opens");
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&archive()));
        images.import(reader, &image_name("crash"), Timestamp::UNIX_EPOCH).expect("imported");
    });
    if given.is_none() {
        check(&images, &directory);
    }
}

fn is_under_way(store: &Path) -> bool {
    fs::exists(store.join("tmp")).expect("readable") && !names(&store.join("tmp")).is_empty()
}

#[test]
fn an_import_killed_at_any_time_leaves_nothing_and_can_be_repeated() {
    let directory = memory();
    let child = |path: &Path| {
        Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "concurrency::an_import_from_a_pipe"])
            .env("FABRIC_IMAGES", path)
            .stdout(Stdio::null())
            .spawn()
            .expect("this test starts")
    };
    let took = |number| {
        let begin = Instant::now();
        assert!(child(&directory.path().join(format!("whole-{number}"))).wait().expect("ends").success());
        begin.elapsed()
    };
    let whole = (0..3).map(took).min().expect("three");
    let archive = archive();
    let rounds = 40;
    let mut interrupted = 0;
    for round in 0..rounds {
        let path = directory.path().join(round.to_string());
        let mut import = child(&path);
        if round % 4 == 0 {
            // In the middle, however slow the machine is.
            while import.try_wait().expect("it is a child").is_none() && !is_under_way(&path) {
                thread::yield_now();
            }
        } else {
            thread::sleep(whole * round / rounds);
        }
        import.kill().expect("killed");
        import.wait().expect("ends");
        if is_under_way(&path) {
            interrupted += 1;
        }
        let images = Images::open(&path, Limits::default()).expect("opens");
        assert_eq!(names(&path.join("tmp")), [""; 0], "round {round}");
        // Complete or not there at all.
        match images.find(&image_name("crash")).expect("readable") {
            Some(_) => check(&images, &path),
            None => assert_eq!(names(&path.join("names")), [""; 0]),
        }
        images.import(archive.as_slice(), &image_name("crash"), Timestamp::UNIX_EPOCH).expect("imported");
        check(&images, &path);
        image::remove_tree(&path).expect("removed");
    }
    assert!(interrupted > 5, "only {interrupted} of {rounds} imports were in the middle");
}
