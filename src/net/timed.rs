//! A TCP connection whose waits end at a deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Waits end with [`io::ErrorKind::WouldBlock`], as the kernel's own time-outs do.
pub(super) struct Timed {
    tcp: Arc<TcpStream>,
    pub(super) deadline: Option<Instant>,
    /// The kernel's time-outs as they are set.
    reads: Duration,
    writes: Duration,
}

impl Timed {
    pub(super) fn new(tcp: Arc<TcpStream>) -> Self {
        Timed { tcp, deadline: None, reads: Duration::ZERO, writes: Duration::ZERO }
    }

    /// Looks at what there is to read, and leaves it there.
    pub(super) fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (tcp, reads) = (&*self.tcp, &mut self.reads);
        let set = |time| tcp.set_read_timeout(Some(time));
        bounded(self.deadline, reads, set, || tcp.peek(buffer))
    }
}

/// Calls until the deadline. The kernel counts each wait from its beginning, so its time-out is set
/// anew, a system call of its own, where it is longer than what is left or much shorter; one that
/// is a little shorter serves for the next requests too, and ends a wait in two.
fn bounded<T>(
    deadline: Option<Instant>,
    set: &mut Duration,
    kernel: impl Fn(Duration) -> io::Result<()>,
    mut call: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    let Some(deadline) = deadline else { return call() };
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if *set > left || *set < left / 2 {
            let time = if left > Duration::from_secs(1) { left - left / 16 } else { left };
            kernel(time)?;
            *set = time;
        }
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A wait with an end is broken off when the process is stopped and goes on, as by a
            // container that is paused (signal(7)): it is no fault of the peer's.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tcp = &*self.tcp;
        let set = |time| tcp.set_read_timeout(Some(time));
        bounded(self.deadline, &mut self.reads, set, || tcp.read(buffer))
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let mut tcp = &*self.tcp;
        let set = |time| tcp.set_write_timeout(Some(time));
        bounded(self.deadline, &mut self.writes, set, || tcp.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a call of the kernel's time-outs is told.
    type Told = std::cell::RefCell<Vec<Duration>>;

    #[test]
    fn the_kernel_is_told_again_only_when_its_time_does_not_fit() {
        let (told, mut set) = (Told::default(), Duration::ZERO);
        let mut call = |left: f64| {
            let deadline = Instant::now() + Duration::from_secs_f64(left);
            let tell = |time| {
                told.borrow_mut().push(time);
                Ok(())
            };
            bounded(Some(deadline), &mut set, tell, || Ok(())).unwrap();
            told.borrow().len()
        };
        assert_eq!(call(15.0), 1);
        assert_eq!(call(15.0), 1);
        assert_eq!(call(14.5), 1);
        // A shorter deadline, and a much longer one.
        assert_eq!(call(5.0), 2);
        assert_eq!(call(5.0), 2);
        assert_eq!(call(15.0), 3);
        assert_eq!(call(0.2), 4);
        assert!(told.borrow().iter().zip([15.0, 5.0, 15.0, 0.2]).all(|(time, left)| {
            let left = Duration::from_secs_f64(left);
            *time <= left && *time >= left / 2
        }));
    }

    #[test]
    fn a_wait_that_the_kernel_ends_too_early_goes_on_to_the_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut timed = Timed::new(Arc::new(tcp));
        let begun = Instant::now();
        timed.deadline = Some(begun + Duration::from_millis(1200));
        let error = timed.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(begun.elapsed() >= Duration::from_millis(1200), "{:?}", begun.elapsed());
        // Past it no call waits.
        assert!(timed.read(&mut [0]).is_err());
    }

    #[test]
    fn without_a_deadline_the_kernel_decides() {
        let kernel = |_| Err(io::Error::other("no time-out is set"));
        let mut set = Duration::ZERO;
        assert!(bounded(None, &mut set, kernel, || Ok(())).is_ok());
    }
}
