//! What is peculiar to a terminal: its size, its colours, a password typed unseen.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use zeroize::Zeroizing;

/// What the environment wishes of the terminal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// `TERM=dumb`: no drawing over what is there.
    Plain,
    /// `NO_COLOR`: drawing without colours.
    Colourless,
    /// Black on white, whatever the terminal's colours are.
    Coloured,
}

/// Columns and rows of standard output, where it is a terminal.
pub fn size() -> Option<(usize, usize)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    // A serial line does not know its size.
    let known = size.ws_col > 0 && size.ws_row > 0;
    Some(if known { (size.ws_col.into(), size.ws_row.into()) } else { (80, 24) })
}

/// Asks for a password: typed unseen at a terminal, else a line of standard input. `None` where
/// there is no more.
///
/// # Errors
/// As the terminal or the input fails.
pub fn password(prompt: &str) -> io::Result<Option<Zeroizing<String>>> {
    let stdin = io::stdin();
    let unseen = if stdin.is_terminal() {
        // What is typed once the question stands there is neither shown nor lost.
        let unseen = Unseen::new()?;
        eprint!("{prompt}: ");
        io::stderr().flush()?;
        Some(unseen)
    } else {
        None
    };
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line)?;
    drop(unseen);
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok((read > 0).then_some(line))
}

/// A terminal without echo, which comes back when dropped.
struct Unseen(Termios);

impl Unseen {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &modes)?;
        Ok(Unseen(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
