//! Project Wycheproof's vectors for every algorithm of a JWS that they have a set for.

use serde_json::json;
use tower_oauth_jose::{Algorithm, InvalidToken, SkipReason, VerifyingKey};
use wycheproof::{TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

use crate::signer::encode;

/// Every vector against one key. What is "acceptable" (legacy forms) we must not accept.
fn run<'a>(
    name: &str,
    key: &VerifyingKey,
    algorithm: Algorithm,
    vectors: impl IntoIterator<Item = (usize, &'a [u8], &'a [u8], TestResult)>,
) -> usize {
    let mut count = 0;
    for (id, message, signature, expected) in vectors {
        let expected = match expected {
            TestResult::Valid => Ok(()),
            TestResult::Invalid | TestResult::Acceptable => Err(InvalidToken::BadSignature),
        };
        assert_eq!(key.verify(algorithm, message, signature), expected, "{name} {id}");
        count += 1;
    }
    count
}

macro_rules! vectors {
    ($group:expr) => {
        $group.tests.iter().map(|test| (test.tc_id, &test.msg[..], &test.sig[..], test.result))
    };
}

#[test]
fn j11_and_j12_wycheproof_ecdsa_of_fixed_length() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    for (name, algorithm, at_least) in [
        (EcdsaSecp256r1Sha256P1363, Algorithm::ES256, 250),
        (EcdsaSecp384r1Sha384P1363, Algorithm::ES384, 250),
    ] {
        let mut count = 0;
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            count += run("ECDSA", &key, algorithm, vectors!(group));
        }
        assert!(count >= at_least, "{algorithm} {count}");
    }
}

#[test]
fn j12_wycheproof_ecdsa_in_der_is_refused_good_or_bad() {
    use ecdsa::TestName::EcdsaSecp256r1Sha256;
    let mut count = 0;
    for group in ecdsa::TestSet::load(EcdsaSecp256r1Sha256).unwrap().test_groups {
        let key = VerifyingKey::from_pem(&group.pem).unwrap();
        for test in &group.tests {
            let verdict = key.verify(Algorithm::ES256, &test.msg, &test.sig);
            assert_eq!(verdict, Err(InvalidToken::BadSignature), "{}", test.tc_id);
            count += 1;
        }
    }
    assert!(count >= 400, "{count}");
}

#[test]
fn j16_wycheproof_ed25519() {
    let mut count = 0;
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&group.key.pk)});
        let key = VerifyingKey::from_jwk(jwk.to_string()).unwrap();
        let from_pem = VerifyingKey::from_pem(&group.pem).unwrap();
        assert_eq!(key.thumbprint(), from_pem.thumbprint());
        count += run("Ed25519", &key, Algorithm::EdDSA, vectors!(group));
    }
    assert!(count >= 140, "{count}");
}

#[test]
fn j15_wycheproof_rsa_pkcs1_padding() {
    use rsa_pkcs1_verify::TestName::{
        Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512, Rsa3072Sha256, Rsa4096Sha384, Rsa8192Sha512,
    };
    for (name, algorithm) in [
        (Rsa2048Sha256, Algorithm::RS256),
        (Rsa2048Sha384, Algorithm::RS384),
        (Rsa2048Sha512, Algorithm::RS512),
        (Rsa3072Sha256, Algorithm::RS256),
        (Rsa4096Sha384, Algorithm::RS384),
        (Rsa8192Sha512, Algorithm::RS512),
    ] {
        let mut count = 0;
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            match VerifyingKey::from_pem(&group.pem) {
                Ok(key) => count += run("RSA", &key, algorithm, vectors!(group)),
                // Some groups are about exponents that we do not take at all.
                Err(reason) => assert_eq!(reason, SkipReason::WeakExponent),
            }
        }
        assert!(count >= 200, "{algorithm} {count}");
    }
}

#[test]
fn wycheproof_rsa_pss_with_a_salt_as_long_as_the_hash() {
    use rsa_pss_verify::TestName::{
        RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha512Mgf1SaltLen64,
    };
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::PS256),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::PS384),
        (RsaPss4096Sha512Mgf1SaltLen64, Algorithm::PS512),
    ] {
        let mut count = 0;
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            count += run("PSS", &key, algorithm, vectors!(group));
        }
        assert!(count >= 60, "{algorithm} {count}");
    }
}

#[test]
fn wycheproof_rsa_pss_with_another_salt_or_mask_is_refused() {
    use rsa_pss_verify::TestName::{RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1Sha1_20};
    for name in [RsaPss2048Sha256Mgf1SaltLen0, RsaPss2048Sha256Mgf1Sha1_20] {
        let mut good = 0;
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = VerifyingKey::from_pem(&group.pem).unwrap();
            // (Those that the set calls invalid may well be good for PS256.)
            for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
                let verdict = key.verify(Algorithm::PS256, &test.msg, &test.sig);
                assert_eq!(verdict, Err(InvalidToken::BadSignature), "{}", test.tc_id);
                good += 1;
            }
        }
        assert!(good > 10, "there must be some that another verifier takes");
    }
}

#[test]
fn j19_wycheproof_hmac() {
    use mac::TestName::{HmacSha256, HmacSha384, HmacSha512};
    for (name, algorithm, hash) in [
        (HmacSha256, Algorithm::HS256, 32),
        (HmacSha384, Algorithm::HS384, 48),
        (HmacSha512, Algorithm::HS512, 64),
    ] {
        let mut count = 0;
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in &group.tests {
                let key = VerifyingKey::hmac(algorithm, &test.key);
                if test.key.len() < hash {
                    assert_eq!(key.unwrap_err(), SkipReason::ShortSecret);
                    continue;
                }
                // JOSE has no truncated tags, however right they are.
                let good = test.result == TestResult::Valid && test.tag.len() == hash;
                let verdict = key.unwrap().verify(algorithm, &test.msg, &test.tag);
                assert_eq!(verdict.is_ok(), good, "{algorithm} {}", test.tc_id);
                count += 1;
            }
        }
        assert!(count >= 100, "{algorithm} {count}");
    }
}
