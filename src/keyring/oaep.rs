//! RSA-OAEP by OpenSSL, in both directions (RFC 8017 §7.1).

use openssl::error::ErrorStack;
use openssl::md::{Md, MdRef};
use openssl::pkey::{HasPublic, PKeyRef, Private};
use openssl::pkey_ctx::{PkeyCtx, PkeyCtxRef};
use openssl::rsa::Padding;
use zeroize::Zeroizing;

use crate::crypto::{Digests, Hash};

/// Encrypts under a public key.
///
/// # Errors
/// [`ErrorStack`] where the message is too long for the key.
pub fn seal(
    key: &PKeyRef<impl HasPublic>,
    message: &[u8],
    digests: Digests,
) -> Result<Vec<u8>, ErrorStack> {
    let mut context = PkeyCtx::new(key)?;
    context.encrypt_init()?;
    set(&mut context, digests)?;
    let mut sealed = Vec::new();
    context.encrypt_to_vec(message, &mut sealed)?;
    Ok(sealed)
}

/// Decrypts with a private key.
///
/// # Errors
/// [`ErrorStack`]; what it says must not be told to whoever sent the ciphertext (Manger 2001).
pub fn open(
    key: &PKeyRef<Private>,
    ciphertext: &[u8],
    digests: Digests,
) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let mut context = PkeyCtx::new(key)?;
    context.decrypt_init()?;
    set(&mut context, digests)?;
    let mut plain = Zeroizing::new(Vec::new());
    context.decrypt_to_vec(ciphertext, &mut plain)?;
    Ok(plain)
}

fn set<T>(context: &mut PkeyCtxRef<T>, digests: Digests) -> Result<(), ErrorStack> {
    context.set_rsa_padding(Padding::PKCS1_OAEP)?;
    context.set_rsa_oaep_md(md(digests.oaep))?;
    context.set_rsa_mgf1_md(md(digests.mgf1))
}

fn md(hash: Hash) -> &'static MdRef {
    match hash {
        Hash::Sha1 => Md::sha1(),
        Hash::Sha256 => Md::sha256(),
    }
}
