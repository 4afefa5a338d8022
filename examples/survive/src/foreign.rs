//! The same load at somebody's own issuer and service. What happens to them is up to them.

use std::sync::Arc;

use http::Uri;
use tower_oauth::BoxError;

use crate::args::Foreign;
use crate::control::{ControlDevice, Idp};
use crate::load::{Device, Group, Load, Protocol, Target};
use crate::ours::OurDevice;
use crate::progress::Progress;
use crate::report::Phase;
use crate::wire;

/// Sends the load, and has one phase to tell about.
pub(crate) async fn play(
    foreign: &Foreign,
    load: Arc<Load>,
    progress: &Progress,
) -> Result<Vec<Phase>, BoxError> {
    let uri: Uri = foreign.target.parse().map_err(|_| "--target is no URL")?;
    let target = Target { http: wire::public(&uri)?, uri, grpc: None };
    let ours = Arc::new(OurDevice::new(&foreign.login, &target)?);
    let control = Arc::new(ControlDevice::new(Idp::new(foreign.login.clone())?, target));

    // One request first: hundreds a second with a wrong secret help nobody.
    ours.send(Protocol::Http, None).await?;
    load.equip(Group::Ours, vec![ours]);
    load.equip(Group::Control, vec![control]);

    progress.phase("foreign");
    let mut phase = Phase::new("foreign", load.now());
    let sending = tokio::spawn(Arc::clone(&load).run());
    load.sleep_until(phase.began + foreign.length).await;
    phase.ended = load.now();
    sending.abort();
    load.drain().await;
    Ok(vec![phase])
}
