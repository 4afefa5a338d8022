use serde_json::Value;

use crate::TokenSpec;
use crate::state::{Claims, Shared, State};

/// How many tokens of one holder live at the same time, the holder being a client, a subject, an
/// audience and a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActiveTokens {
    /// As many as were asked for.
    #[default]
    Many,
    /// One, handed out again and again with the rest of its life, as WSO2's servers do: who revokes it
    /// ends it for all who hold it.
    Same,
    /// One, the newest: each grant ends the token before it.
    Newest,
}

impl Shared {
    /// What `/token` gives for these claims, and for how many seconds it lives.
    pub(crate) fn grant(&self, claims: Claims) -> (String, u64) {
        let now = self.clock.unix_seconds();
        let mode = self.with(|state| state.active_tokens);
        if mode == ActiveTokens::Same
            && let Some(alive) = self.with(|state| state.alive_like(&claims, now))
        {
            return alive;
        }
        let life = ends(&claims).max(now).abs_diff(now);
        let token = self.issue(&TokenSpec::new(), claims.clone());
        self.with(|state| match mode {
            ActiveTokens::Many => (token, life),
            // It was signed outside of the lock, and another may have been issued meanwhile: that one
            // it is then, for both.
            ActiveTokens::Same => {
                let held = state.alive.remove(&token);
                state.alive_like(&claims, now).unwrap_or_else(|| {
                    state.alive.extend(held.map(|held| (token.clone(), held)));
                    (token, life)
                })
            }
            ActiveTokens::Newest => {
                state.alive.retain(|other, held| *other == token || !same_holder(held, &claims));
                (token, life)
            }
        })
    }
}

impl State {
    /// A live token of the same holder, and the seconds that it has left.
    fn alive_like(&self, claims: &Claims, now: i64) -> Option<(String, u64)> {
        let mut held = self.alive.iter();
        let (token, held) = held.find(|(_, held)| same_holder(held, claims) && ends(held) > now)?;
        Some((token.clone(), ends(held).abs_diff(now)))
    }
}

fn ends(claims: &Claims) -> i64 {
    claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX)
}

fn same_holder(one: &Claims, other: &Claims) -> bool {
    ["client_id", "sub", "aud", "scope"].iter().all(|name| one.get(*name) == other.get(*name))
}
