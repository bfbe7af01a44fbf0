//! Reading a whole table; a large one with several threads.

use std::io::{Error, ErrorKind, Result};
use std::sync::Mutex;
use std::thread;

use super::keyed_read::{self, EndpointMap};
use super::read::{FoundSet, TableReader};
use crate::dataplane::{Element, EndpointList, Family, Frontend, Key, SetName, SizeClass, TableContents, TableOutline};
use crate::netlink::NetfilterSocket;

/// How often a table is read until no change happens meanwhile.
///
/// Any change in the namespace counts, also to tables of other programs. So the result of the last attempt is used in any case:
/// only this process writes its own table, and a difference that was missed shows when the kernel refuses a batch.
const MAX_ATTEMPTS: usize = 5;

/// From this number of elements on a table is read by several threads, and a map of endpoints by key. Smaller ones gain nothing.
const MIN_LARGE_ELEMENTS: usize = 20_000;

/// From this number of bounds on a look leaves out the sources of a frontend: so it takes about the same time for any number of ranges.
const MAX_SOURCES_TO_LOOK_AT: usize = 256;

/// How soon a table has to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    /// Commits wait for it: with several threads, and again if the ruleset changes meanwhile.
    InAHurry,
    /// Nothing waits for it, and whoever uses it leaves out what was written meanwhile: once, with one thread. A large map that changes
    /// meanwhile is not dumped: commits would have to wait for the kernel to finish each part.
    Aside,
}

/// Reads a table, with as many threads as there are sockets; `None` if there is no such table.
pub(super) fn read(
    sockets: &mut [NetfilterSocket],
    family: Family,
    name: &str,
    haste: Haste,
) -> Result<Option<TableContents>> {
    let mut contents = None;
    for _ in 0..if haste == Haste::Aside { 1 } else { MAX_ATTEMPTS } {
        let mut readers: Vec<_> = sockets.iter_mut().map(|socket| TableReader::new(socket, family, name)).collect();
        contents = read_once(&mut readers, haste)?;
        if readers.iter().all(TableReader::is_consistent) {
            break;
        }
    }
    Ok(contents)
}

/// Reads the outline of a table; `None` if there is no such table.
pub(super) fn outline(socket: &mut NetfilterSocket, family: Family, name: &str) -> Result<Option<TableOutline>> {
    let mut reader = TableReader::new(socket, family, name);
    let Some(handle) = reader.table()? else { return Ok(None) };
    let mut outline = TableOutline { handle, ..TableOutline::default() };
    outline.contents.chains = reader.chains_with_rules()?;
    for set in reader.sets()? {
        let mut recognised = set.known.is_some();
        match set.known {
            Some(known) if known.is_dynamic() => {}
            Some(known @ SetName::Sources(_)) if set.count.is_none_or(|count| count > MAX_SOURCES_TO_LOOK_AT) => {
                outline.unread.insert(known);
            }
            // The kernel counts the bounds of ranges, some kernels otherwise than others.
            Some(known) if known.definition().interval => {
                let elements = reader.elements(known)?;
                recognised = elements.is_some();
                outline.contents.elements.extend(elements.into_iter().flatten());
            }
            Some(known) => outline.counts.extend(set.count.map(|count| (known, count))),
            None => {}
        }
        outline.contents.sets.insert(set.name.clone(), set.contents(recognised));
    }
    Ok(Some(outline))
}

fn read_once(readers: &mut [TableReader<'_>], haste: Haste) -> Result<Option<TableContents>> {
    let Some((first, others)) = readers.split_first_mut() else { return Err(ErrorKind::NotConnected.into()) };
    if first.table()?.is_none() {
        return Ok(None);
    }
    let mut contents = TableContents { chains: first.chains_with_rules()?, ..TableContents::default() };
    let sets = first.sets()?;
    others.iter_mut().for_each(|other| other.expect_generation_of(first));
    let is_large = sets.iter().filter_map(|set| set.count).sum::<usize>() >= MIN_LARGE_ELEMENTS;
    let readers = if is_large { readers } else { std::slice::from_mut(first) };

    let (maps, dumped): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| large_map(set).is_some());
    let dump = |reader: &mut TableReader<'_>, set: FoundSet| {
        let elements = match set.known {
            // Elements that packets add are no part of the table.
            Some(name) if name.is_dynamic() => Some(Vec::new()),
            Some(name) => reader.elements(name)?,
            None => None,
        };
        Ok((set, elements))
    };
    let all = run_jobs(readers, dumped, dump)?;
    // Now the members of the size classes are known. They tell the keys of the maps.
    let mut parts = Vec::new();
    for set in maps {
        let elements = endpoints(readers, &set, &all, haste)?;
        contents.sets.insert(set.name.clone(), set.contents(elements.is_some()));
        parts.extend(elements.into_iter().flatten());
    }
    for (set, elements) in all {
        contents.sets.insert(set.name.clone(), set.contents(elements.is_some()));
        parts.extend(elements);
    }
    contents.elements = parts.into_iter().flatten().collect();
    Ok(Some(contents))
}

/// The list and the number of elements, if the set is a map of endpoints to be read by key.
fn large_map(set: &FoundSet) -> Option<(EndpointList, usize)> {
    match (set.known, set.count) {
        (Some(SetName::Endpoints(list)), Some(count)) if count >= MIN_LARGE_ELEMENTS => Some((list, count)),
        _ => None,
    }
}

/// The elements of a large map, in parts: by key if the members of its size classes tell all keys, otherwise from a dump.
fn endpoints(
    readers: &mut [TableReader<'_>],
    set: &FoundSet,
    read: &[(FoundSet, Option<Vec<Element>>)],
    haste: Haste,
) -> Result<Option<Vec<Vec<Element>>>> {
    if let Some((list, count)) = large_map(set) {
        let map = EndpointMap { name: &set.name, list, count };
        if let Some(requests) = keyed_read::plan_requests(map, class_members(read, list)) {
            let parts = run_jobs(readers, requests, |reader, requests| reader.elements_by_key(map, &requests))?;
            let parts: Option<Vec<Vec<Element>>> = parts.into_iter().collect();
            let is_changing = readers.iter().any(|reader| !reader.is_consistent());
            let may_differ = haste == Haste::Aside && is_changing;
            let parts = parts.filter(|parts| may_differ || parts.iter().map(Vec::len).sum::<usize>() == count);
            if parts.is_some() {
                return Ok(parts);
            }
        }
        tracing::debug!(set = set.name, "the size classes do not tell all keys of a map: dumping the whole map");
    }
    match (readers.first_mut(), set.known) {
        (Some(reader), Some(name)) => Ok(reader.elements(name)?.map(|elements| vec![elements])),
        _ => Ok(None),
    }
}

/// The members of the size classes of a list.
fn class_members(read: &[(FoundSet, Option<Vec<Element>>)], list: EndpointList) -> Vec<(Frontend, SizeClass)> {
    let class = |set: &FoundSet| match set.known? {
        // Their endpoints are in other maps.
        SetName::AffinitySlots(..) => None,
        set => set.class().filter(|(of, _)| *of == list).map(|(_, class)| class),
    };
    let of_list = read.iter().filter_map(|(set, elements)| Some((class(set)?, elements.as_ref()?)));
    let frontend = |element: &Element| match element.key {
        Key::Frontend(frontend) => Some(frontend),
        _ => None,
    };
    of_list
        .flat_map(|(class, elements)| elements.iter().filter_map(frontend).map(move |frontend| (frontend, class)))
        .collect()
}

/// Runs jobs in one thread for each reader. The results are in no order.
fn run_jobs<J: Send, T: Send>(
    readers: &mut [TableReader<'_>],
    jobs: Vec<J>,
    work: impl Fn(&mut TableReader<'_>, J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let jobs = Mutex::new(jobs.into_iter());
    let next = || jobs.lock().ok()?.next();
    let run = |reader: &mut TableReader<'_>| -> Result<Vec<T>> {
        let mut done = Vec::new();
        while let Some(job) = next() {
            done.push(work(reader, job)?);
        }
        Ok(done)
    };
    let Some((first, others)) = readers.split_first_mut() else { return Err(ErrorKind::NotConnected.into()) };
    thread::scope(|threads| {
        let running: Vec<_> = others.iter_mut().map(|reader| threads.spawn(|| run(reader))).collect();
        let mut all = run(first)?;
        for thread in running {
            all.extend(thread.join().map_err(|_| Error::other("a thread that read a table panicked"))??);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests;
