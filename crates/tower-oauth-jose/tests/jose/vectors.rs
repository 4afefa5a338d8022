//! The examples of the RFCs.

use serde_json::json;
use tower_oauth_jose::{Algorithm, InvalidToken, Unverified, VerifyingKey};

use crate::signer::{NOW, at, decode, lenient};

struct Vector {
    name: &'static str,
    jwk: &'static str,
    algorithm: Algorithm,
    token: &'static str,
}

const VECTORS: [Vector; 3] = [
    Vector {
        name: "RFC 7515 appendix A.2",
        jwk: r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#,
        algorithm: Algorithm::RS256,
        token: "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    },
    Vector {
        name: "RFC 7515 appendix A.3",
        jwk: r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
        algorithm: Algorithm::ES256,
        token: "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    },
    Vector {
        name: "RFC 8037 appendix A.4",
        jwk: r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        algorithm: Algorithm::EdDSA,
        token: "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    },
];

#[test]
fn the_rfcs_signatures_verify_and_changed_ones_do_not() {
    for vector in VECTORS {
        let key = VerifyingKey::from_jwk(vector.jwk).unwrap();
        let (input, signature) = vector.token.rsplit_once('.').unwrap();
        let mut signature = decode(signature);
        let verify = |signature: &[u8]| key.verify(vector.algorithm, input.as_bytes(), signature);
        assert_eq!(verify(&signature), Ok(()), "{}", vector.name);
        signature[10] ^= 1;
        assert_eq!(verify(&signature), Err(InvalidToken::BadSignature), "{}", vector.name);
        let parsed = Unverified::parse(vector.token);
        assert!(parsed.is_ok(), "{}", vector.name);
    }
}

#[test]
fn the_rfcs_claims_are_no_access_token() {
    for (vector, expected) in VECTORS.iter().zip([
        // `"iss":"joe"`
        InvalidToken::WrongIssuer,
        InvalidToken::WrongIssuer,
        // The text "Example of Ed25519 signing".
        InvalidToken::Malformed,
    ]) {
        let parsed = Unverified::parse(vector.token).unwrap();
        assert_eq!(parsed.check(&lenient(), at(NOW)).unwrap_err(), expected, "{}", vector.name);
    }
}

#[test]
fn rfc_7638_section_3_1_thumbprint() {
    let jwk = json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
    });
    let key = VerifyingKey::from_jwk(jwk.to_string()).unwrap();
    assert_eq!(key.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(key.thumbprint().as_bytes().len(), 32);
}

#[test]
fn rfc_7797_section_4_2_unencoded_payloads_are_refused() {
    let token = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    assert_eq!(Unverified::parse(token).unwrap_err(), InvalidToken::Malformed);
    let filled = token.replace("..", ".JC4wMg.");
    assert_eq!(Unverified::parse(&filled).unwrap_err(), InvalidToken::ForbiddenHeader("crit"));
}
