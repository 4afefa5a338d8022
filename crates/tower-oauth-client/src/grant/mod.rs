//! What tokens are asked for with, in which order, and where a refresh token stays meanwhile.

mod chain;
mod link;
mod redeem;
#[cfg(feature = "sealed-store")]
mod sealed;
mod session;
mod store;

pub(crate) use self::chain::Chain;
pub(crate) use self::link::Link;
pub use self::link::SubjectToken;
pub use self::redeem::LostRefresh;
#[cfg(feature = "sealed-store")]
pub use self::sealed::{SealedFile, SealingKey};
pub(crate) use self::session::Session;
pub use self::store::{MemoryStore, Redeeming, RefreshTokenStore, SessionId, StoredRefreshToken};
