//! What happens to the identity provider, one incident after the other.

use std::sync::Arc;
use std::time::Duration;

use tower_oauth::BoxError;
use tower_oauth_test::Rotation;

use crate::flood;
use crate::load::{Group, Protocol};
use crate::report::{Incident, Phase};
use crate::stage::Stage;

/// Requests of each group that are on their way when the issuer restarts.
const IN_FLIGHT: usize = 1_000;
/// How long after its time a restart may be, on a busy machine.
const SLOW: Duration = Duration::from_secs(5);
/// The life of tokens before the issuer goes dark. They are refreshed ahead at 70 % to 80 % of it,
/// which is over at 12.8 s; a cache that does not refresh ahead is left with a dead one at 16 s.
const SHORT_LIFE: Duration = Duration::from_secs(16);
const LONG_LIFE: Duration = Duration::from_secs(3_600);
const DARK_AT: Duration = Duration::from_millis(13_200);
const DARK_FOR: Duration = Duration::from_secs(10);

impl Stage {
    /// All phases, in the order in which they are told about.
    pub(crate) async fn play(&self) -> Result<Vec<Phase>, BoxError> {
        self.load.equip(Group::Ours, vec![self.our_device()?]);
        // Started after the control group is ready, by `begin`.
        let mut phases = vec![self.begin("steady").await?];
        let sending = tokio::spawn(Arc::clone(&self.load).run());
        self.load.sleep_until(self.load.now() + Duration::from_secs(4)).await;
        self.end(&mut phases);

        phases.push(self.begin("idp_restart").await?);
        let first = self.load.now() + Duration::from_millis(1_900);
        self.restart(&mut phases, 1, first, "IdP restart").await?;
        self.load.sleep_until(first + Duration::from_secs(1)).await;
        self.end(&mut phases);

        phases.push(self.begin("second_restart").await?);
        let second = first + Duration::from_secs(2);
        self.restart(&mut phases, 2, second, "2nd restart").await?;
        self.load.sleep_until(second + Duration::from_millis(2_500)).await;
        self.end(&mut phases);

        phases.push(self.begin("rotation_new_kid").await?);
        self.rotate(&mut phases, Rotation::Add, "new key").await?;
        self.end(&mut phases);

        phases.push(self.begin("rotation_same_kid").await?);
        self.rotate(&mut phases, Rotation::SameKid, "new key, same id").await?;
        self.end(&mut phases);

        let forged = flood::forge(&self.issuer).await?;
        phases.push(self.begin("forged_flood").await?);
        self.flood(&mut phases, forged).await?;
        self.end(&mut phases);

        // Tokens of a short life, so that one ends in the dark. Ours logs in here and not with the
        // load, so that the age of its token is known.
        self.issuer.set_token_life(SHORT_LIFE);
        let device = self.our_device()?;
        let issued = self.load.now();
        device.send(Protocol::Http, None).await?;
        self.load.equip(Group::Ours, vec![device]);
        phases.push(self.begin("idp_dark").await?);
        self.darkness(&mut phases, issued + DARK_AT).await?;
        self.end(&mut phases);

        self.issuer.set_token_life(LONG_LIFE);
        self.two_devices(&mut phases).await?;
        self.forbidden(&mut phases).await?;
        self.reject_all(&mut phases).await?;

        sending.abort();
        self.load.drain().await;
        Ok(phases)
    }

    // === the incidents ===

    /// The issuer restarts and has forgotten every token, with 1,000 requests of each group on
    /// their way to the resource.
    async fn restart(
        &self,
        phases: &mut [Phase],
        incident: u32,
        at: Duration,
        label: &'static str,
    ) -> Result<(), BoxError> {
        for group in [Group::Ours, Group::Control] {
            self.load.hold(group, IN_FLIGHT, incident);
        }
        self.load.sleep_until(at).await;
        for gate in [&self.ours.gate, &self.control.gate] {
            // By now they are there, except on a very busy machine.
            while gate.waiting() < IN_FLIGHT {
                if self.load.now() > at + SLOW {
                    let held = gate.waiting();
                    return Err(format!("only {held} of {IN_FLIGHT} requests arrived").into());
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self.mark(phases, label, Duration::ZERO);
        self.issuer.restart();
        self.ours.gate.open(incident);
        self.control.gate.open(incident);
        Ok(())
    }

    /// The issuer changes its key. From then on half of the load comes from a device that logs in
    /// with the new one, and half from the device that there was, with the token that it has.
    async fn rotate(
        &self,
        phases: &mut [Phase],
        rotation: Rotation,
        label: &'static str,
    ) -> Result<(), BoxError> {
        self.load.sleep_until(self.load.now() + Duration::from_millis(500)).await;
        self.issuer.rotate(rotation);
        self.mark(phases, label, Duration::ZERO);
        for (group, device) in
            [(Group::Ours, self.our_device()?), (Group::Control, self.control_device())]
        {
            self.load.equip(group, self.load.newest(group).into_iter().chain([device]).collect());
        }
        self.load.sleep_until(self.load.now() + Duration::from_millis(3_500)).await;
        Ok(())
    }

    /// 20,000 tokens that nobody issued, each of a key that nobody has.
    async fn flood(&self, phases: &mut [Phase], forged: flood::Forged) -> Result<(), BoxError> {
        self.load.sleep_until(self.load.now() + Duration::from_millis(500)).await;
        let began = self.load.now();
        let outcome = flood::send(forged, &self.our_target.uri).await?;
        let lasted = self.load.now() - began;
        if let Some(phase) = phases.last_mut() {
            phase.flood = Some(outcome);
            phase.incident = Some(Incident { label: "20,000 forged tokens", at: began, lasted });
        }
        self.load.sleep_until(self.load.now() + Duration::from_millis(500)).await;
        Ok(())
    }

    /// The issuer is gone for 10 seconds: nobody gets a token, nobody gets keys.
    async fn darkness(&self, phases: &mut [Phase], at: Duration) -> Result<(), BoxError> {
        self.load.sleep_until(at).await;
        self.mark(phases, "IdP dark for 10 s", DARK_FOR);
        self.issuer.go_dark();
        self.load.sleep_until(at + DARK_FOR).await;
        self.issuer.light_up()?;
        self.load.sleep_until(self.load.now() + Duration::from_secs(2)).await;
        Ok(())
    }
}
