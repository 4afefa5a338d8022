//! What happens between devices and the resource: log-outs, an ambiguous 403, a resource that refuses
//! everybody.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tower_oauth::BoxError;
use tower_oauth_test::ActiveTokens;

use crate::load::{Device, Group, Protocol};
use crate::report::{Phase, Rightless};
use crate::stage::Stage;

const LOG_OUTS: u64 = 20;
const BETWEEN_LOG_OUTS: Duration = Duration::from_millis(200);
/// Calls of ours that the token is not good enough for, and the time between them.
const RIGHTLESS: u64 = 10;
const BETWEEN_RIGHTLESS: Duration = Duration::from_millis(200);
const REFUSES_FOR: Duration = Duration::from_secs(5);
const REFUSED_RATE: u32 = 200;
const MOMENT: Duration = Duration::from_millis(500);

/// Devices of one account, and so of one token.
type Household = Vec<Arc<dyn Device>>;

impl Stage {
    /// Two devices share an account at an issuer that keeps one active token for it, and each in
    /// its turn logs out, which ends the token for both, and in again.
    pub(crate) async fn two_devices(&self, phases: &mut Vec<Phase>) -> Result<(), BoxError> {
        self.issuer.set_active_tokens(ActiveTokens::Same);
        let mut ours: Household = vec![self.our_device()?, self.our_device()?];
        let mut control: Household = vec![self.control_device(), self.control_device()];
        for device in ours.iter().chain(&control) {
            device.send(Protocol::Http, None).await?;
        }
        phases.push(self.begin("two_devices").await?);
        self.load.equip(Group::Ours, ours.clone());
        self.load.equip(Group::Control, control.clone());
        self.pause(MOMENT).await;
        self.mark(phases, "log-outs", BETWEEN_LOG_OUTS * u32::try_from(LOG_OUTS)?);
        let first = self.load.now();
        for turn in 0..LOG_OUTS {
            self.load.sleep_until(first + BETWEEN_LOG_OUTS * u32::try_from(turn)?).await;
            self.log_out(Group::Ours, &mut ours, self.our_device()?).await?;
            self.log_out(Group::Control, &mut control, self.control_device()).await?;
        }
        self.pause(MOMENT).await;
        if let Some(phase) = phases.last_mut() {
            phase.log_outs = Some(LOG_OUTS);
        }
        self.end(phases);
        self.issuer.set_active_tokens(ActiveTokens::Many);
        Ok(())
    }

    /// The device that has been there for longest logs out; in its place comes one that logs in.
    async fn log_out(
        &self,
        group: Group,
        household: &mut Household,
        next: Arc<dyn Device>,
    ) -> Result<(), BoxError> {
        let leaving = household.remove(0);
        self.load.equip(group, household.clone());
        // Whoever logs out has nothing under way. Each request holds its device until it is answered.
        while Arc::strong_count(&leaving) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        leaving.log_out().await?;
        household.push(next);
        self.load.equip(group, household.clone());
        Ok(())
    }

    /// A gateway says 403 where the token is dead, and where it is alive but not enough.
    pub(crate) async fn forbidden(&self, phases: &mut Vec<Phase>) -> Result<(), BoxError> {
        phases.push(self.begin("forbidden_403").await?);
        let device = self.our_device_at_a_gateway()?;
        self.load.equip(Group::Ours, vec![Arc::clone(&device) as Arc<dyn Device>]);
        for resource in [&self.ours, &self.control] {
            resource.mood.say_403(true);
        }
        self.pause(MOMENT).await;
        let before = self.ours.mood.audits();
        for turn in 0..RIGHTLESS {
            let answer = device.audit().await?;
            if answer != StatusCode::FORBIDDEN {
                return Err(format!("a call without the right to it was answered {answer}").into());
            }
            if turn == RIGHTLESS / 2 {
                self.mark(phases, "restart, told by 403", Duration::ZERO);
                self.issuer.restart();
            }
            // The others have found out about a restart by then: the next one's token is alive.
            self.pause(BETWEEN_RIGHTLESS).await;
        }
        if let Some(phase) = phases.last_mut() {
            let replayed = self.ours.mood.audits() - before - RIGHTLESS;
            phase.rightless = Some(Rightless { calls: RIGHTLESS, replayed });
        }
        self.pause(MOMENT).await;
        self.end(phases);
        for resource in [&self.ours, &self.control] {
            resource.mood.say_403(false);
        }
        Ok(())
    }

    /// The resource refuses whatever comes, for five seconds. No token helps, and the issuer must not
    /// be asked for one again and again.
    pub(crate) async fn reject_all(&self, phases: &mut Vec<Phase>) -> Result<(), BoxError> {
        let device = self.our_device()?;
        device.send(Protocol::Http, None).await?;
        self.load.equip(Group::Ours, vec![device]);
        self.load.set_rate(REFUSED_RATE);
        phases.push(self.begin("reject_all").await?);
        self.pause(MOMENT).await;
        self.mark(phases, "all refused", REFUSES_FOR);
        self.load.set_refusing(true);
        for resource in [&self.ours, &self.control] {
            resource.mood.refuse_all(true);
        }
        self.pause(REFUSES_FOR).await;
        for resource in [&self.ours, &self.control] {
            resource.mood.refuse_all(false);
        }
        // After that nobody is excused any more.
        self.load.set_refusing(false);
        if let Some(phase) = phases.last_mut() {
            phase.well_at = Some(self.load.now());
        }
        self.pause(3 * MOMENT).await;
        self.end(phases);
        Ok(())
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
