//! One Pointsman in a network namespace: a socket with an abstract name, which the kernel keeps for each network namespace, and which it
//! releases when the process ends in whatever way.

use std::io::{self, ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};

/// The abstract name.
const NAME: &[u8] = b"pointsman.lock";
/// How long the holder may take to say who it is.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 200;

/// The lock of this network namespace, until the end of the process.
#[derive(Debug)]
pub struct InstanceLock(());

impl InstanceLock {
    /// Takes the lock, and tells who asks which process holds it.
    ///
    /// # Errors
    ///
    /// Who holds it.
    pub fn take(introduction: String) -> Result<Self, String> {
        let bound = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixListener::bind_addr(&name));
        let listener = match bound {
            Ok(listener) => listener,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return match look() {
                    LockState::Held(holder) => Err(holder),
                    LockState::Free => Err("it is just ending".to_owned()),
                    LockState::Foreign => {
                        tracing::warn!(
                            "an unprivileged program has the name of Pointsman's lock, which is ignored: another Pointsman would not \
                             be noticed"
                        );
                        Ok(Self(()))
                    }
                };
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take Pointsman's lock: another Pointsman on this host would not be noticed");
                return Ok(Self(()));
            }
        };
        let answering = std::thread::Builder::new().name("lock".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    // Whoever asked may be gone.
                    Ok(stream) => drop(answer(stream, &introduction)),
                    // No descriptor is left, most likely.
                    Err(_) => std::thread::sleep(ACCEPT_PAUSE),
                }
            }
        });
        if let Err(error) = answering {
            tracing::warn!(%error, "cannot keep Pointsman's lock: another Pointsman on this host would not be noticed");
        }
        Ok(Self(()))
    }

    /// Takes the lock if it is free. Otherwise it stays with its holder.
    pub fn take_if_free(introduction: String) -> Self {
        Self::take(introduction).unwrap_or(Self(()))
    }
}

fn answer(mut stream: UnixStream, introduction: &str) -> io::Result<()> {
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(introduction.as_bytes())
}

/// What has the name of the lock.
enum LockState {
    Free,
    /// A program of another user, which could take any name. It does not count.
    Foreign,
    /// A Pointsman: who it is, in words.
    Held(String),
}

/// Who holds the lock, in words; none if it is free.
pub(super) fn holder() -> Option<String> {
    match look() {
        LockState::Held(holder) => Some(holder),
        LockState::Free | LockState::Foreign => None,
    }
}

fn look() -> LockState {
    let connected = SocketAddr::from_abstract_name(NAME).and_then(|name| UnixStream::connect_addr(&name));
    let Ok(stream) = connected else { return LockState::Free };
    let Ok(peer) = getsockopt(&stream, sockopt::PeerCredentials) else { return LockState::Free };
    if peer.uid() != 0 && peer.uid() != nix::unistd::geteuid().as_raw() {
        return LockState::Foreign;
    }
    // 0: a process that this one cannot see, in another container.
    let process = if peer.pid() > 0 { format!("process {}", peer.pid()) } else { "in another container".to_owned() };
    let mut introduction = String::new();
    let read = stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .and_then(|()| stream.take(MAX_ANSWER_BYTES).read_to_string(&mut introduction));
    let words = introduction.chars().filter(|c| !c.is_control()).collect::<String>();
    LockState::Held(if read.is_ok() && !words.is_empty() { format!("{process}, {words}") } else { process })
}
