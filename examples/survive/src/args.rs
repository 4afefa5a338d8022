//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use tower_oauth::Secret;

use crate::ours;

pub(crate) const HELP: &str = "\
A fleet of clients goes through what happens to identity providers: restarts,
key rotations, forged tokens, an outage; and through what happens beside them:
log-outs on a second device, a 403 that means two things, a resource that
refuses everybody. Half of it stands behind tower-oauth. The other half, the
control group, does what is done everywhere: it keeps its token until
`expires_in`, and its keys for ever.

    cargo demo [--json FILE]

Everything runs in this process, on 127.0.0.1, in 65 seconds. It writes
survive.svg here, and exits with 1 if a request of our group failed or the
issuer was asked for tokens more often than is promised.

    cargo demo --issuer URL --client-id ID --client-secret-env VAR --target URL

Sends the same load over HTTP at a service of yours, with tokens of your
issuer. Restart it, rotate its keys, and watch.

    --issuer URL             its metadata say where tokens are to be had
    --client-id ID           a client with the grant client_credentials
    --client-secret-env VAR  the environment variable that holds its secret
    --target URL             what is asked for; any answer but 200 is a failure
    --resource R             the resource of the token (RFC 8707)
    --scope S                the scope of the token; may be given several times
    --seconds N              for how long [30]
    --rate N                 requests a second, for each of the groups [400]

    --json FILE              writes the figures of each phase
    --help                   this text
";

/// A run, as the command line asks for it.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) json: Option<PathBuf>,
    /// Somebody else's issuer and service, instead of our own in this process.
    pub(crate) foreign: Option<Foreign>,
}

/// An issuer and a service that somebody runs.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) login: Login,
    pub(crate) target: String,
    pub(crate) length: Duration,
    pub(crate) rate: u32,
}

/// What a client needs to get a token.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    /// A `Secret` shows itself to nobody, this struct's `Debug` included.
    pub(crate) secret: Secret,
    pub(crate) scopes: Vec<String>,
    pub(crate) resource: Option<String>,
}

/// The arguments; `None` if help is asked for.
///
/// `env` looks a variable up, so that a test needs no environment.
pub(crate) fn parse(
    args: impl IntoIterator<Item = String>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Args>, String> {
    let mut given = Given::default();
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        // Both `--name value` and `--name=value`.
        let (name, inline) = match name.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (name, None),
        };
        let slot = given.slot(&name).ok_or_else(|| format!("{name} is no option"))?;
        let value = inline.or_else(|| args.next()).filter(|value| !value.is_empty());
        slot.push(value.ok_or_else(|| format!("{name} needs a value"))?);
    }
    given.check(env).map(Some)
}

/// All values of each option.
#[derive(Default)]
struct Given {
    json: Vec<String>,
    issuer: Vec<String>,
    client_id: Vec<String>,
    secret_env: Vec<String>,
    target: Vec<String>,
    resource: Vec<String>,
    scope: Vec<String>,
    seconds: Vec<String>,
    rate: Vec<String>,
}

impl Given {
    fn slot(&mut self, name: &str) -> Option<&mut Vec<String>> {
        Some(match name {
            "--json" => &mut self.json,
            "--issuer" => &mut self.issuer,
            "--client-id" => &mut self.client_id,
            "--client-secret-env" => &mut self.secret_env,
            "--target" => &mut self.target,
            "--resource" => &mut self.resource,
            "--scope" => &mut self.scope,
            "--seconds" => &mut self.seconds,
            "--rate" => &mut self.rate,
            _ => return None,
        })
    }

    fn check(self, env: impl Fn(&str) -> Option<String>) -> Result<Args, String> {
        let json = once("--json", self.json)?.map(PathBuf::from);
        let issuer = once("--issuer", self.issuer)?;
        let client_id = once("--client-id", self.client_id)?;
        let secret_env = once("--client-secret-env", self.secret_env)?;
        let target = once("--target", self.target)?;
        let resource = once("--resource", self.resource)?;
        let seconds = once("--seconds", self.seconds)?;
        let rate = once("--rate", self.rate)?;

        let nothing_foreign = [&issuer, &client_id, &secret_env, &target, &resource]
            .into_iter()
            .chain([&seconds, &rate])
            .all(Option::is_none);
        if nothing_foreign && self.scope.is_empty() {
            return Ok(Args { json, foreign: None });
        }
        let needed = |name, value: Option<String>| {
            value.ok_or_else(|| format!("{name} is missing: a foreign issuer needs it"))
        };
        let variable = needed("--client-secret-env", secret_env)?;
        let secret = env(&variable).filter(|secret| !secret.is_empty());
        let login = Login {
            issuer: needed("--issuer", issuer)?,
            client_id: needed("--client-id", client_id)?,
            secret: Secret::new(
                secret.ok_or_else(|| format!("the environment variable {variable} is not set"))?,
            ),
            scopes: self.scope.join(" ").split_whitespace().map(str::to_owned).collect(),
            resource,
        };
        // The builder of the token cache knows what a good issuer, scope and resource is.
        ours::tokens(&login).map_err(|error| error.to_string())?;
        let target = needed("--target", target)?;
        let scheme = target.parse::<Uri>().ok().and_then(|uri| uri.scheme().cloned());
        if !scheme.is_some_and(|scheme| scheme == Scheme::HTTP || scheme == Scheme::HTTPS) {
            return Err(format!("--target is no http or https URL: {target}"));
        }
        let length = number("--seconds", seconds, 30, 3600)?;
        Ok(Args {
            json,
            foreign: Some(Foreign {
                login,
                target,
                length: Duration::from_secs(length.into()),
                rate: number("--rate", rate, 400, 5000)?,
            }),
        })
    }
}

fn once(name: &str, values: Vec<String>) -> Result<Option<String>, String> {
    let mut values = values.into_iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(format!("{name} is given twice")),
        (value, None) => Ok(value),
    }
}

fn number(name: &str, value: Option<String>, default: u32, most: u32) -> Result<u32, String> {
    let Some(value) = value else { return Ok(default) };
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{name} is a whole number from 1 to {most}, not {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Args>, String> {
        let env = |name: &str| (name == "SECRET").then(|| "s3cret".into());
        parse(line.split_whitespace().map(Into::into), env)
    }

    const FOREIGN: &str = "--issuer https://idp --client-id orders --client-secret-env SECRET \
                           --target https://api/stock";

    #[test]
    fn without_arguments_everything_runs_here() {
        assert!(parsed("").unwrap().unwrap().foreign.is_none());
        let args = parsed("--json=out.json").unwrap().unwrap();
        assert_eq!(args.json, Some(PathBuf::from("out.json")));
        assert!(args.foreign.is_none());
        assert!(parsed("--json x --help").unwrap().is_none());
    }

    #[test]
    fn a_foreign_issuer_has_defaults_for_all_that_can_have_one() {
        let foreign = parsed(FOREIGN).unwrap().unwrap().foreign.unwrap();
        assert_eq!((foreign.length, foreign.rate), (Duration::from_secs(30), 400));
        assert!(foreign.login.scopes.is_empty() && foreign.login.resource.is_none());
        let more = format!("{FOREIGN} --seconds 5 --rate 20 --scope a --scope b --resource urn:r");
        let foreign = parsed(&more).unwrap().unwrap().foreign.unwrap();
        assert_eq!((foreign.length, foreign.rate), (Duration::from_secs(5), 20));
        assert_eq!(foreign.login.scopes, ["a", "b"]);
        assert_eq!(foreign.login.resource.as_deref(), Some("urn:r"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_with_it() {
        let cases = [
            ("--nonsense", "--nonsense is no option"),
            ("survive", "survive is no option"),
            ("--json", "--json needs a value"),
            ("--json=", "--json needs a value"),
            ("--json a --json b", "--json is given twice"),
            ("--seconds 5", "--client-secret-env is missing"),
            ("--client-secret-env SECRET", "--issuer is missing"),
            (&FOREIGN.replace("SECRET", "NOT_SET"), "NOT_SET is not set"),
            (&FOREIGN.replace("https://idp", "http://idp"), "issuer"),
            (&FOREIGN.replace("https://api", "api"), "--target is no http or https URL"),
        ];
        for (line, expected) in cases {
            let error = parsed(line).unwrap_err();
            assert!(error.contains(expected) && !error.contains("s3cret"), "{line}: {error}");
        }
        for wrong in ["0", "3601", "-1", "ten"] {
            let error = parsed(&format!("{FOREIGN} --seconds {wrong}")).unwrap_err();
            assert!(error.contains("from 1 to 3600"), "{error}");
        }
        let args = parsed(FOREIGN).unwrap().unwrap();
        assert!(!format!("{args:?}").contains("s3cret"));
    }
}
