//! The session table: the input is the chance of the simulation, a byte a draw, so that the
//! fuzzer looks for histories in which the table and its naive model differ.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicU64;

use rand::TryRng;

#[path = "../simulation/life.rs"]
mod life;

use life::Life;

pub fn holds(input: &[u8]) {
    let mut chance = Chance(input);
    let mut tally = BTreeMap::new();
    let played = AtomicU64::new(0);
    let mut life = Life::new(&mut chance, &mut tally, &played);
    // Every step draws, so this ends; at most two draws a byte keep histories short.
    for _ in 0..input.len() {
        let next = life.draw();
        life.play(next);
    }
    life.end();
}

/// Bytes as chance; when they are used up, zeros.
struct Chance<'a>(&'a [u8]);

impl Chance<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }
}

impl TryRng for Chance<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_be_bytes([self.byte(); 4]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_be_bytes([self.byte(); 8]))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.byte());
        Ok(())
    }
}
