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
        self.with(|state| {
            match mode {
                ActiveTokens::Many => return (token, life),
                // It was signed outside of the lock, and another may have been granted meanwhile: that
                // one it is then, for both.
                ActiveTokens::Same => {
                    if let Some(alive) = state.alive_like(&claims, now) {
                        state.alive.remove(&token);
                        return alive;
                    }
                }
                ActiveTokens::Newest => {
                    let State { alive, handed_out, .. } = state;
                    alive.retain(|other, held| {
                        !(handed_out.contains(other) && same_holder(held, &claims))
                    });
                }
            }
            let State { alive, handed_out, .. } = state;
            handed_out.retain(|token| alive.contains_key(token));
            handed_out.insert(token.clone());
            (token, life)
        })
    }
}

impl State {
    /// A live token that this holder was handed, and the seconds that it has left.
    fn alive_like(&self, claims: &Claims, now: i64) -> Option<(String, u64)> {
        self.handed_out.iter().find_map(|token| {
            let held = self.alive.get(token)?;
            (same_holder(held, claims) && ends(held) > now)
                .then(|| (token.clone(), ends(held).abs_diff(now)))
        })
    }
}

fn ends(claims: &Claims) -> i64 {
    claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX)
}

fn same_holder(one: &Claims, other: &Claims) -> bool {
    ["client_id", "sub", "aud", "scope"].iter().all(|name| one.get(*name) == other.get(*name))
}
