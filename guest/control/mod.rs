//! The guest's end of the control port: the host connects, asks for one thing, and is answered.
//!
//! A thread for each conversation. Whoever speaks here can do whatever it likes in this guest anyway, so nothing is kept
//! from it; but no bytes of any kind may end this program, for the guest ends with it.

mod command;
mod figures;
mod link;
mod session;

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::failure::{Failure, text};
use super::frames::{self, Frame};
use super::orders::Orders;
use super::sys;
use super::workload;
use link::Link;

/// How many conversations there may be at once.
const MOST: usize = 64;
/// How long one who has connected may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long those who speak may take to hear that the guest ends.
const PARTING: Duration = Duration::from_millis(1500);
/// What a conversation's thread needs: it keeps nothing large on its stack.
const STACK: usize = 128 << 10;

/// A port that the host may connect to already; nobody is answered yet.
pub struct Control {
    socket: OwnedFd,
}

/// What a command has if it does not say otherwise.
pub struct Base {
    /// The workload's environment.
    pub env: Vec<Vec<u8>>,
    /// The workload's working directory; may be empty.
    pub workdir: Vec<u8>,
}

/// The port in service.
pub struct Service {
    /// Its other end tells every conversation that the guest ends; nothing is ever written.
    closing: PipeWriter,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    count: Mutex<usize>,
    ended: Condvar,
}

impl Control {
    /// Listens on a vsock port.
    pub fn listen(port: u32) -> Result<Control, Failure> {
        sys::listen_vsock(port).map(Control::on).map_err(|error| {
            let why = match error.raw_os_error() {
                Some(sys::EAFNOSUPPORT) => "this kernel has no vsock (CONFIG_VSOCKETS, CONFIG_VIRTIO_VSOCKETS)".into(),
                _ => text(&error),
            };
            Failure::explained(format_args!("control port (vsock {port})"), &error, &why)
        })
    }

    /// The same with a socket that listens already.
    pub fn on(socket: OwnedFd) -> Control {
        Control { socket }
    }

    /// Answers whoever connects.
    pub fn serve(self, base: Base) -> io::Result<Service> {
        let (closed, closing) = io::pipe()?;
        let running = Arc::<Running>::default();
        let port = Arc::new(Port { base, closed, running: Arc::clone(&running) });
        let thread = std::thread::Builder::new().stack_size(STACK);
        thread.spawn(move || {
            loop {
                match sys::accept(self.socket.as_fd()) {
                    Ok(socket) => port.receive(socket),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // No descriptors or memory for it now, or it has gone already.
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        })?;
        Ok(Service { closing, running })
    }
}

impl Base {
    /// What the orders say of the workload.
    pub fn of(orders: &Orders) -> Base {
        Base { env: orders.env.clone(), workdir: orders.workdir.clone() }
    }
}

impl Service {
    /// Ends everything that was started over the port, and lets those who wait for it hear so.
    pub fn close(self) {
        let Service { closing, running } = self;
        drop(closing);
        let deadline = Instant::now() + PARTING;
        let mut count = running.lock();
        while *count > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            count = running.ended.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more conversation, unless there are too many.
    fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut count = self.lock();
        *count = count.checked_add(1).filter(|count| *count <= MOST)?;
        Some(Place(Arc::clone(self)))
    }
}

/// A conversation's place among those that there may be.
struct Place(Arc<Running>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        *count = count.saturating_sub(1);
        self.0.ended.notify_all();
    }
}

struct Port {
    base: Base,
    closed: PipeReader,
    running: Arc<Running>,
}

impl Port {
    fn receive(self: &Arc<Self>, socket: OwnedFd) {
        let mut link = Link::new(socket);
        link.say(&Frame::Hello { version: frames::VERSION });
        let Some(place) = self.running.enter() else {
            link.say(&failed(sys::EAGAIN, &format!("{MOST} conversations are going on, and no more may")));
            // Without a thread nobody is waited for.
            link.flush();
            return;
        };
        let port = Arc::clone(self);
        let thread = std::thread::Builder::new().stack_size(STACK);
        // Where there is no memory for a thread, the host sees the connection's end.
        let _ = thread.spawn(move || {
            port.speak(link);
            drop(place);
        });
    }

    fn speak(&self, mut link: Link) {
        match link.first(PATIENCE, &self.closed) {
            Some(Frame::Exec(exec)) => return session::run(link, &exec, &self.base, &self.closed),
            Some(Frame::AskFigures) => link.say(&Frame::Figures(figures::all())),
            Some(Frame::Terminate) => {
                workload::terminate();
                link.say(&Frame::Done);
            }
            Some(_) => link.say(&failed(sys::EINVAL, "that is no request")),
            None => return,
        }
        link.finish();
    }
}

fn failed(errno: i32, message: &str) -> Frame {
    Frame::Failed { errno, message: message.as_bytes().to_vec() }
}
