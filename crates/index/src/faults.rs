//! Tests with faults: the power goes, the disk is full, the process is killed, at every step that a writer takes.
//!
//! Decided here: [`step`] stands before each change to a file (`disk.rs`). When the power goes there, bytes that were appended since the
//! last sync are lost in part, files whose folder was not synced are gone, and the process ends without a word. What it had committed is
//! told in a file apart; the next process must find that commit, or the one it was at, whole.
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hua_kernels::{Cores, Isa};

use crate::disk::Step;
use crate::writer::unit;
use crate::{Error, Filter, NewItem, Reader, Result, SpaceSpec, SpaceState, StoredType, Writer};

#[derive(Clone, Copy, Default)]
enum Fault {
    #[default]
    None,
    /// Steps from the first to before the second find the disk full.
    Full(u64, u64),
    /// The power goes at this step.
    Power(u64),
}

#[derive(Default)]
struct Plan {
    fault: Fault,
    steps: u64,
    /// A kind of step that takes no effect.
    forget: String,
    /// Of files that were written: their length, and how much of it lasts.
    lengths: BTreeMap<PathBuf, (u64, u64)>,
    /// Files whose folder was not synced yet.
    new: BTreeSet<PathBuf>,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// What stands before each change to a file.
pub(crate) fn step(what: Step, path: &Path) -> io::Result<()> {
    PLAN.with_borrow_mut(|plan| {
        plan.steps += 1;
        match plan.fault {
            Fault::Power(at) if plan.steps == at => plan.lose_power(what, path),
            Fault::Full(from, to) if (from..to).contains(&plan.steps) && !matches!(what, Step::Remove | Step::Committed) => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            _ => {}
        }
        match what {
            _ if format!("{what:?}") == plan.forget => {}
            Step::Append { len, bytes } => {
                let length = plan.lengths.entry(path.into()).or_insert((len, len));
                length.0 = len + bytes as u64;
            }
            Step::Create => {
                plan.lengths.insert(path.into(), (0, 0));
                plan.new.insert(path.into());
            }
            Step::Remove => {
                plan.lengths.retain(|file, _| !file.starts_with(path));
                plan.new.retain(|file| !file.starts_with(path));
            }
            Step::Sync => {
                plan.lengths.entry(path.into()).and_modify(|length| length.1 = length.0);
            }
            Step::SyncFolder => plan.new.retain(|file| file.parent() != Some(path)),
            Step::Truncate { len } => {
                plan.lengths.entry(path.into()).and_modify(|length| *length = (len, length.1.min(len)));
            }
            Step::Commit | Step::Committed | Step::CreateFolder => {}
        }
        Ok(())
    })
}

impl Plan {
    fn lose_power(&mut self, what: Step, path: &Path) {
        if let Step::Append { bytes, .. } = what {
            let _ = OpenOptions::new().append(true).open(path).and_then(|mut file| file.write_all(&vec![0xaa; bytes / 2]));
        }
        for (path, &(len, lasting)) in &self.lengths {
            // None of what does not last, half of it, or all.
            let left = lasting + (len - lasting) * (self.steps % 3) / 2;
            if let Ok(file) = OpenOptions::new().write(true).open(path)
                && file.metadata().is_ok_and(|file| file.len() > left)
            {
                file.set_len(left).unwrap();
            }
        }
        self.new.iter().for_each(|path| drop(fs::remove_file(path)));
        std::process::abort();
    }
}

/// A folder in memory where there is one: hundreds of libraries are made, each with hundreds of syncs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn plan(fault: Fault) {
    PLAN.set(Plan { fault, ..Plan::default() });
}

const WIDTH: usize = 24;
const ROUNDS: usize = 24;

fn spec(name: &str) -> SpaceSpec {
    SpaceSpec { name: name.into(), fingerprint: "f".into(), preprocessing: "p".into(), width: WIDTH, dtype: StoredType::F32 }
}

fn vector(seed: usize) -> Vec<f32> {
    let numbers: Vec<f32> = (0..WIDTH).map(|i| ((seed * 31 + i * 17 + i * i * seed) % 97) as f32 - 48.0).collect();
    unit(&numbers).unwrap().into_owned()
}

/// Paths and the seeds of their vectors.
type Model = BTreeMap<String, usize>;

/// What a round does to the items: the same to a library and to the model.
fn change(round: usize, model: &mut Model, mut writer: Option<&mut Writer>) -> Result<()> {
    let put = |model: &mut Model, writer: &mut Option<&mut Writer>, path: String, seed: usize| -> Result<()> {
        if let Some(writer) = writer {
            let id = writer.upsert(&NewItem { path: path.clone(), bytes: seed as u64, ..NewItem::default() })?;
            for space in writer.spaces()? {
                writer.set_vector(space.id, id, &vector(seed))?;
            }
        }
        model.insert(path, seed);
        Ok(())
    };
    for i in 0..11 {
        put(model, &mut writer, format!("{round}/{i}"), round * 100 + i)?;
    }
    // One of the round before gets another vector, one another name, and those of an older round go but for one.
    if round > 0 {
        put(model, &mut writer, format!("{}/1", round - 1), round * 100 + 50)?;
        let (from, to) = (format!("{}/2", round - 1), format!("renamed/{round}"));
        if let Some(writer) = &mut writer {
            let id = writer.known(&from)?.unwrap().id;
            writer.rename(id, &to, Some(1))?;
        }
        let seed = model.remove(&from).unwrap();
        model.insert(to, seed);
    }
    if round > 3 {
        for i in 3..10 {
            let path = format!("{}/{i}", round - 3);
            if let Some(writer) = &mut writer {
                let id = writer.known(&path)?.unwrap().id;
                assert!(writer.remove(id)?);
            }
            model.remove(&path);
        }
    }
    Ok(())
}

fn model(rounds: usize) -> Model {
    let mut model = Model::new();
    (0..rounds).for_each(|round| change(round, &mut model, None).unwrap());
    model
}

/// One round: changes and their commit, then sometimes what keeps a library in order.
fn play(writer: &mut Writer, round: usize) -> Result<()> {
    if round % 5 == 2 {
        change(round, &mut model(round), Some(writer))?;
        writer.rollback()?;
    }
    change(round, &mut model(round), Some(writer))?;
    writer.set_value("rounds", Some(&(round + 1).to_string()))?;
    writer.commit()
}

fn keep_in_order(writer: &mut Writer, round: usize) -> Result<()> {
    if round % 6 == 5 {
        writer.compact(round % 12 == 5)?;
    }
    if round % 8 == 6 && writer.spaces()?.len() == 1 {
        let old = writer.spaces()?[0].id;
        let new = writer.add_space(&spec(&format!("space {round}")))?;
        for (path, seed) in model(round + 1) {
            let id = writer.known(&path)?.unwrap().id;
            writer.set_vector(new, id, &vector(seed))?;
        }
        writer.set_state(new, SpaceState::Live)?;
        writer.set_state(old, SpaceState::Filling)?;
        writer.commit()?;
    }
    if round.is_multiple_of(8) && writer.spaces()?.len() == 2 {
        writer.remove_space(writer.spaces()?[0].id)?;
    }
    Ok(())
}

/// All rounds from where the library is, each told in `told` once it is committed.
fn play_all(path: &Path, told: &Path, rounds: usize) -> Result<()> {
    let mut writer = open(path)?;
    let from: usize = writer.value("rounds")?.map_or(0, |rounds| rounds.parse().unwrap());
    for round in from..rounds {
        play(&mut writer, round)?;
        fs::write(told.with_extension("part"), (round + 1).to_string()).unwrap();
        fs::rename(told.with_extension("part"), told).unwrap();
        keep_in_order(&mut writer, round)?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Writer> {
    match Writer::open(path) {
        Err(Error::NotALibrary { .. }) => Writer::create_with(path, &spec("first"), 64),
        other => other,
    }
}

/// That a library is whole, and is what it was after some round; which.
fn whole(path: &Path) -> usize {
    let reader = Reader::open(path).unwrap();
    assert_eq!(reader.check().unwrap().findings, []);
    let rounds: usize = reader.value("rounds").unwrap().map_or(0, |rounds| rounds.parse().unwrap());
    let wanted = model(rounds);
    let items = reader.items(&Filter::all()).unwrap();
    assert_eq!(items.len(), wanted.len(), "items after {rounds} rounds");
    let space = reader.space(None).unwrap().id;
    for id in items {
        let item = reader.item(id).unwrap().unwrap();
        let seed = *wanted.get(&item.path).unwrap_or_else(|| panic!("`{}` after {rounds} rounds", item.path));
        assert_eq!(reader.vector(space, id).unwrap().unwrap(), vector(seed), "`{}` after {rounds} rounds", item.path);
    }
    if let Some((path, seed)) = wanted.iter().next() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let hits = reader.search(&cores, space, &[&vector(*seed)], &Filter::all(), wanted.len()).unwrap().remove(0);
        assert_eq!(hits.len(), wanted.len());
        assert!(hits[0].score > 0.9999, "{path}");
    }
    rounds
}

/// Another process of this test program that plays rounds, with a fault.
fn child(path: &Path, told: &Path, rounds: usize, power: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "faults::a_child_plays_rounds", "--ignored", "--quiet"]);
    command.env("HUA_INDEX_TEST_LIBRARY", path).env("HUA_INDEX_TEST_TOLD", told).env("HUA_INDEX_TEST_ROUNDS", rounds.to_string());
    command.env("HUA_INDEX_TEST_POWER", power.to_string());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

#[test]
#[ignore = "it is what other tests run in a process of its own"]
fn a_child_plays_rounds() {
    let variable = |name: &str| std::env::var(format!("HUA_INDEX_TEST_{name}"));
    let Ok(path) = variable("LIBRARY") else { return };
    let number = |name: &str| variable(name).unwrap().parse::<u64>().unwrap();
    if number("POWER") > 0 {
        plan(Fault::Power(number("POWER")));
        PLAN.with_borrow_mut(|plan| plan.forget = variable("FORGET").unwrap_or_default());
    }
    play_all(Path::new(&path), Path::new(&variable("TOLD").unwrap()), number("ROUNDS") as usize).unwrap();
}

fn rounds_told(told: &Path) -> usize {
    fs::read_to_string(told).map_or(0, |rounds| rounds.parse().unwrap())
}

/// What is left of a library when the power goes at a step: whether it did, or the child was done before. `forget` is a kind of step that
/// takes no effect.
fn survives(at: u64, forget: &str) -> bool {
    let folder = folder();
    let (path, told) = (folder.path().join("library"), folder.path().join("told"));
    let done = child(&path, &told, ROUNDS, at).env("HUA_INDEX_TEST_FORGET", forget).status().unwrap();
    let committed = rounds_told(&told);
    if done.success() {
        assert_eq!((committed, whole(&path)), (ROUNDS, ROUNDS));
        return false;
    }
    assert_eq!(done.code(), None, "step {at}: the child failed by itself");
    let last_or_next = |found: usize| {
        assert!(found == committed || found == committed + 1, "step {at}: {committed} rounds were committed, {found} are there");
        found
    };
    // A reader may come before any writer.
    if committed > 0 {
        last_or_next(whole(&path));
    }
    let mut writer = open(&path).unwrap_or_else(|error| panic!("step {at}: {error}"));
    if committed > 0 || writer.value("rounds").unwrap().is_some() {
        let found = last_or_next(whole(&path));
        play(&mut writer, found).unwrap();
        assert_eq!(whole(&path), found + 1);
    }
    true
}

#[test]
fn a_loss_of_power_at_any_step_leaves_the_last_commit_whole() {
    let losses = (1..).take_while(|&at| survives(at, "")).count();
    assert!(losses > 300, "only {losses} steps");
}

#[test]
fn a_writer_that_does_not_sync_would_be_caught() {
    for forget in ["Sync", "SyncFolder"] {
        assert!((1..100).any(|at| std::panic::catch_unwind(|| survives(at, forget)).is_err()), "{forget} is not missed");
    }
}

#[cfg(unix)]
#[test]
fn a_process_that_is_killed_at_any_moment_leaves_the_last_commit_whole() {
    let folder = folder();
    let (path, told) = (folder.path().join("library"), folder.path().join("told"));
    let mut moment = 1;
    for kill in 0..60 {
        let mut running = child(&path, &told, 1000, 0).spawn().unwrap();
        // It plays some rounds at least, however slow the machine is.
        let before = rounds_told(&told);
        (0..2000).take_while(|_| rounds_told(&told) < before + 2).for_each(|_| std::thread::sleep(Duration::from_millis(1)));
        std::thread::sleep(Duration::from_millis(moment));
        running.kill().unwrap();
        running.wait().unwrap();
        moment = (moment * 19 + 7) % 31;
        let committed = rounds_told(&told);
        if committed > 0 {
            let found = whole(&path);
            assert!(found == committed || found == committed + 1, "kill {kill}: {committed} rounds were committed, {found} are there");
        }
    }
    drop(open(&path).unwrap());
    assert!(rounds_told(&told) > 60, "children were killed before they did anything");
}

#[test]
fn a_disk_that_is_full_at_any_step_costs_what_was_not_committed_and_no_more() {
    let mut faults = 0;
    for at in 1.. {
        plan(Fault::None);
        let folder = folder();
        let path = folder.path().join("library");
        let mut writer = open(&path).unwrap();
        plan(Fault::Full(at, at + 3));
        let mut failed = 0;
        let mut round = 0;
        while round < 16 {
            let tried = play(&mut writer, round).and_then(|()| keep_in_order(&mut writer, round));
            let Err(error) = tried else {
                round += 1;
                continue;
            };
            failed += 1;
            assert!(error.hint().is_some_and(|hint| hint.contains("full")), "step {at}: {error}");
            let again = writer.set_value("x", None).unwrap_err();
            assert!(matches!(again, Error::Undone { .. }), "step {at}: {again}");
            while writer.rollback().is_err() {
                failed += 1;
                assert!(failed < 9, "step {at}: the disk is not full any more");
            }
            round = whole(&path);
            assert_eq!(writer.value("rounds").unwrap().map_or(0, |rounds| rounds.parse().unwrap()), round);
        }
        assert_eq!(whole(&path), 16);
        if PLAN.with_borrow(|plan| plan.steps) < at {
            break;
        }
        faults += usize::from(failed > 0);
    }
    assert!(faults > 100, "only {faults} steps");
}

#[test]
fn a_disk_that_is_too_full_for_the_catalogue_costs_what_was_not_committed_and_no_more() {
    let folder = folder();
    let path = folder.path().join("library");
    let mut writer = open(&path).unwrap();
    play(&mut writer, 0).unwrap();
    let pages: i64 = writer.catalogue().db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    for more in 0..12 {
        writer.catalogue().db.query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |_| Ok(())).unwrap();
        let mut round = whole(&path);
        let error = loop {
            match play(&mut writer, round) {
                Ok(()) => round += 1,
                Err(error) => break error,
            }
        };
        assert!(error.hint().is_some_and(|hint| hint.contains("full")), "{error}");
        writer.catalogue().db.query_row("PRAGMA max_page_count = 1000000", [], |_| Ok(())).unwrap();
        writer.rollback().unwrap();
        assert_eq!(whole(&path), round);
    }
    play(&mut writer, whole(&path)).unwrap();
}
