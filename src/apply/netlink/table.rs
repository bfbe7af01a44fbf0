//! Reading a whole table, a large one with several threads.

use std::io::{Error, ErrorKind, Result};
use std::sync::Mutex;
use std::thread;

use super::by_key::{self, Map};
use super::read::{Found, Reader};
use super::socket::Socket;
use crate::dataplane::{Element, EndpointList, Family, Frontend, Key, SetName, SizeClass, TableContents};

/// How often a table is read anew because something changed meanwhile.
///
/// Any change in the namespace counts as one, also of tables that are not ours. So the last attempt is taken as it is: our own
/// table is written by us, and what is missed shows when a batch is refused.
const ATTEMPTS: usize = 5;

/// From how many elements on a table is read by several threads, and a map of endpoints by key. Below, it makes no difference.
const LARGE: usize = 20_000;

/// Reads a table, with as many threads as there are sockets; `None` if there is no such table.
pub(super) fn read(sockets: &mut [Socket], family: Family, name: &str) -> Result<Option<TableContents>> {
    let mut contents = None;
    for _ in 0..ATTEMPTS {
        let mut readers: Vec<_> = sockets.iter_mut().map(|socket| Reader::new(socket, family, name)).collect();
        contents = attempt(&mut readers)?;
        if readers.iter().all(Reader::is_consistent) {
            break;
        }
    }
    Ok(contents)
}

fn attempt(readers: &mut [Reader<'_>]) -> Result<Option<TableContents>> {
    let Some((first, others)) = readers.split_first_mut() else { return Err(ErrorKind::NotConnected.into()) };
    if !first.is_there()? {
        return Ok(None);
    }
    let mut contents = TableContents { chains: first.chains()?, ..TableContents::default() };
    for (chain, comments) in first.rules()? {
        let chain = contents.chains.entry(chain).or_default();
        comments.iter().for_each(|comment| chain.push_rule(comment.as_deref()));
    }
    let sets = first.sets()?;
    others.iter_mut().for_each(|other| other.follow(first));
    let is_large = sets.iter().filter_map(|set| set.count).sum::<usize>() >= LARGE;
    let readers = if is_large { readers } else { std::slice::from_mut(first) };

    let (maps, dumped): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| large_map(set).is_some());
    let dump = |reader: &mut Reader<'_>, set: Found| {
        let elements = match set.ours {
            // What packets remember is no part of the table.
            Some(ours) if ours.is_dynamic() => Some(Vec::new()),
            Some(ours) => reader.elements(ours)?,
            None => None,
        };
        Ok((set, elements))
    };
    let all = share(readers, dumped, dump)?;
    // By now the members of the classes are known, which tell the keys of the maps.
    let mut parts = Vec::new();
    for set in maps {
        let elements = endpoints(readers, &set, &all)?;
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

/// The list and the number of elements of a map of endpoints that is read by key.
fn large_map(set: &Found) -> Option<(EndpointList, usize)> {
    match (set.ours, set.count) {
        (Some(SetName::Endpoints(list)), Some(count)) if count >= LARGE => Some((list, count)),
        _ => None,
    }
}

/// The elements of a large map, in parts: by key if the members of its classes tell all keys, else from a dump.
fn endpoints(
    readers: &mut [Reader<'_>],
    set: &Found,
    read: &[(Found, Option<Vec<Element>>)],
) -> Result<Option<Vec<Vec<Element>>>> {
    if let Some((list, count)) = large_map(set) {
        let map = Map { name: &set.name, list, count };
        if let Some(requests) = by_key::requests(map, members(read, list)) {
            let parts = share(readers, requests, |reader, requests| reader.by_key(map, &requests))?;
            let parts: Option<Vec<Vec<Element>>> = parts.into_iter().collect();
            let parts = parts.filter(|parts| parts.iter().map(Vec::len).sum::<usize>() == count);
            if parts.is_some() {
                return Ok(parts);
            }
        }
        tracing::debug!(set = set.name, "its classes do not tell all keys: the whole map is read");
    }
    match (readers.first_mut(), set.ours) {
        (Some(reader), Some(ours)) => Ok(reader.elements(ours)?.map(|elements| vec![elements])),
        _ => Ok(None),
    }
}

/// The members of a list's classes.
fn members(read: &[(Found, Option<Vec<Element>>)], list: EndpointList) -> Vec<(Frontend, SizeClass)> {
    let class = |set: &Found| set.ours?.class().filter(|(of, _)| *of == list).map(|(_, class)| class);
    let of_list = read.iter().filter_map(|(set, elements)| Some((class(set)?, elements.as_ref()?)));
    let frontend = |element: &Element| match element.key {
        Key::Frontend(frontend) => Some(frontend),
        _ => None,
    };
    of_list
        .flat_map(|(class, elements)| elements.iter().filter_map(frontend).map(move |frontend| (frontend, class)))
        .collect()
}

/// Works jobs off in a thread for each reader; the results are in no order.
fn share<J: Send, T: Send>(
    readers: &mut [Reader<'_>],
    jobs: Vec<J>,
    work: impl Fn(&mut Reader<'_>, J) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let jobs = Mutex::new(jobs.into_iter());
    let next = || jobs.lock().ok()?.next();
    let run = |reader: &mut Reader<'_>| -> Result<Vec<T>> {
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
