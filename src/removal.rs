//! The BE removes a user (contract §5).
//!
//! Whoever holds the key that the BE shares with this server may remove; `[limits]
//! removal_allowed_addresses` can ask for the BE's address besides. A user who is not there is
//! removed already.

use std::net::IpAddr;

use crate::crypto::removal;
use crate::refusal::Refusal;
use crate::services::{Services, refuse};
use crate::store::gateway;
use crate::wire;

impl Services {
    /// Removes the user that the body names.
    ///
    /// # Errors
    /// The refusals of contract §5.
    pub fn remove(&self, address: IpAddr, body: &[u8]) -> Result<(), Refusal> {
        let address = address.to_canonical();
        let removers = self.removers.get();
        if !removers.is_empty() && !removers.contains(&address) {
            log::warn!(
                "removal from an address that is not in removal_allowed_addresses address={address}"
            );
            return Err(Refusal::Removal);
        }
        let text = wire::removal(body)?;
        let key = self.backend.shared_key().map_err(refuse("removal"))?;
        // A BE that was set up anew has another key, under which no body opens.
        let msisdn_hash = removal::open(&key, &text)
            .or_else(|| removal::open(&*self.backend.renewed_shared_key()?, &text))
            .ok_or(Refusal::Removal)?;
        gateway::remove(&self.gateway, &msisdn_hash).map_err(refuse("removal"))
    }
}
