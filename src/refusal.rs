//! Refusals: every answer that is not a success, and the one table of their statuses.
//!
//! A refusal is an answer to a client; faults with a cause and a log line are the errors of the
//! modules that own them and reach a client only as [`Refusal::Away`] or [`Refusal::Fault`].

use std::time::Duration;

/// An answer that is not a success (contract §1 and §3 to §5).
///
/// Every refusal is `Copy` and carries no text of the client, so that none can leak what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: what cannot be understood; the text says what and how to mend it.
    Malformed(&'static str),
    /// 400: one answer for whatever goes wrong inside OAEP, so that it is no oracle.
    Undecipherable,
    /// 401: unknown user, wrong password and unusable phone rows, told apart by nobody.
    Credentials,
    /// 403: a browser page of another origin than the settings allow.
    Origin,
    /// 403: the server does not hold the key that this phone has, and is certain of it: the app
    /// forgets its key (contract §4).
    Forged,
    /// 403: one answer for whatever is no removal by the BE, so that it is no oracle.
    Removal,
    /// 404: one answer for unknown, foreign, rotated, used and expired sessions.
    Session,
    /// 404: no such path.
    Path,
    /// 405: a path that exists, with the methods it takes.
    Method(&'static str),
    /// 408: the request was not complete by its deadline.
    Late,
    /// 413: a body over the limit.
    Body,
    /// 426: a path of the sync socket without a WebSocket upgrade.
    Upgrade,
    /// 429: too many attempts; welcome again after the time given.
    Attempts(Duration),
    /// 429: too many connections or sockets of one address.
    Crowd(Duration),
    /// 431: a request head over the limit.
    Head,
    /// 500: a fault of the server; the log has its cause.
    Fault,
    /// 501: a transfer coding other than chunked.
    Coding,
    /// 503: no room for a newcomer; welcome again after the time given.
    Full(Duration),
    /// 503: a database is away; welcome again after the time given.
    Away(Duration),
    /// 503: nobody can tell whether a phone's key is the one held; only a new sync can mend it.
    Unsure(Duration),
}

impl Refusal {
    /// Every [`Self::name`], for who counts them.
    pub const NAMES: [&str; 20] = [
        "malformed",
        "undecipherable",
        "credentials",
        "origin",
        "forged",
        "removal",
        "session",
        "path",
        "method",
        "late",
        "body",
        "upgrade",
        "attempts",
        "crowd",
        "head",
        "fault",
        "coding",
        "full",
        "away",
        "unsure",
    ];

    /// The refusal in one word, whatever else it holds.
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::Undecipherable => "undecipherable",
            Refusal::Credentials => "credentials",
            Refusal::Origin => "origin",
            Refusal::Forged => "forged",
            Refusal::Removal => "removal",
            Refusal::Session => "session",
            Refusal::Path => "path",
            Refusal::Method(_) => "method",
            Refusal::Late => "late",
            Refusal::Body => "body",
            Refusal::Upgrade => "upgrade",
            Refusal::Attempts(_) => "attempts",
            Refusal::Crowd(_) => "crowd",
            Refusal::Head => "head",
            Refusal::Fault => "fault",
            Refusal::Coding => "coding",
            Refusal::Full(_) => "full",
            Refusal::Away(_) => "away",
            Refusal::Unsure(_) => "unsure",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) | Refusal::Undecipherable => 400,
            Refusal::Credentials => 401,
            Refusal::Origin | Refusal::Forged | Refusal::Removal => 403,
            Refusal::Session | Refusal::Path => 404,
            Refusal::Method(_) => 405,
            Refusal::Late => 408,
            Refusal::Body => 413,
            Refusal::Upgrade => 426,
            Refusal::Attempts(_) | Refusal::Crowd(_) => 429,
            Refusal::Head => 431,
            Refusal::Fault => 500,
            Refusal::Coding => 501,
            Refusal::Full(_) | Refusal::Away(_) | Refusal::Unsure(_) => 503,
        }
    }

    /// The reason told to the client; a 5xx keeps its own to the log (contract §3).
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(reason) => reason,
            Refusal::Undecipherable => {
                "the ciphertext does not open with this server's key and the digests named"
            }
            Refusal::Credentials => "the user or the password is wrong",
            Refusal::Origin => "this origin is not among allowed_origins",
            Refusal::Forged => "this server does not hold this phone's key; scan a QR code to sync",
            Refusal::Removal => "this is no removal that the BE has sealed and may send",
            Refusal::Session => "this session is unknown or over; scan the current QR code",
            Refusal::Path => "there is nothing at this path",
            Refusal::Method(_) => "this path does not take this method",
            Refusal::Late => "the request took too long",
            Refusal::Body => "the body is too large",
            Refusal::Upgrade => "this path speaks WebSocket, version 13",
            Refusal::Attempts(_) => "too many attempts; wait and try again",
            Refusal::Crowd(_) => "too many connections from this address",
            Refusal::Head => "the request head is too large, or has more than 64 headers",
            Refusal::Coding => "the only transfer coding understood is chunked",
            Refusal::Fault | Refusal::Full(_) | Refusal::Away(_) | Refusal::Unsure(_) => "",
        }
    }

    /// How long the client should stay away, where the answer says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::Attempts(wait)
            | Refusal::Crowd(wait)
            | Refusal::Full(wait)
            | Refusal::Away(wait)
            | Refusal::Unsure(wait) => Some(*wait),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_client_has_a_reason_and_a_fault_of_the_server_has_none() {
        let wait = Duration::from_secs(2);
        let all = [
            Refusal::Malformed("say what"),
            Refusal::Undecipherable,
            Refusal::Credentials,
            Refusal::Origin,
            Refusal::Forged,
            Refusal::Removal,
            Refusal::Session,
            Refusal::Path,
            Refusal::Method("GET"),
            Refusal::Late,
            Refusal::Body,
            Refusal::Upgrade,
            Refusal::Attempts(wait),
            Refusal::Crowd(wait),
            Refusal::Head,
            Refusal::Fault,
            Refusal::Coding,
            Refusal::Full(wait),
            Refusal::Away(wait),
            Refusal::Unsure(wait),
        ];
        // In the order of the list, so that a name left out or told twice is found.
        assert_eq!(all.map(|refusal| refusal.name()), Refusal::NAMES);
        for refusal in all {
            let told = refusal.status() < 500 || refusal == Refusal::Coding;
            assert_eq!(!refusal.reason().is_empty(), told, "{refusal:?}");
            let temporary = matches!(refusal.status(), 429 | 503);
            assert_eq!(refusal.retry_after().is_some(), temporary, "{refusal:?}");
        }
    }
}
