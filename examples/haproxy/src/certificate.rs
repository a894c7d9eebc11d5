//! TLS Secrets as the one PEM file that haproxy wants: certificate, chain, key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::TlsSecret;

/// The PEM of a Secret.
///
/// Only what is PEM is copied, and a Secret without a certificate or a plain key is refused with a
/// sentence, because haproxy refuses its whole configuration for one unreadable file.
///
/// # Errors
/// The sentence.
pub fn pem(secret: &TlsSecret) -> Result<String, String> {
    let mut pem = String::new();
    let certificates = blocks(&decode("tls.crt", secret.certificate.as_deref())?, &mut pem)?;
    if !certificates.iter().all(|label| label == "CERTIFICATE") || certificates.is_empty() {
        return Err("`tls.crt` is no PEM certificate".to_owned());
    }
    let keys = blocks(&decode("tls.key", secret.key.as_deref())?, &mut pem)?;
    let readable = [
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PARAMETERS",
    ];
    let is_key = |label: &String| label.ends_with("PRIVATE KEY");
    if !keys.iter().all(|label| readable.contains(&label.as_str())) || !keys.iter().any(is_key) {
        return Err("`tls.key` is no unencrypted PEM key".to_owned());
    }
    Ok(pem)
}

fn decode(field: &str, value: Option<&str>) -> Result<String, String> {
    let value = value.ok_or_else(|| format!("`{field}` is missing"))?;
    let bytes = STANDARD
        .decode(value)
        .map_err(|error| format!("`{field}` is not base64: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("`{field}` is not text"))
}

/// Appends the PEM blocks of a text to `out`; answers their labels.
fn blocks(text: &str, out: &mut String) -> Result<Vec<String>, String> {
    let mut labels = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, "BEGIN") else {
            continue; // what stands between the blocks is comment
        };
        let mut body = String::new();
        loop {
            match lines.next() {
                Some(line) if boundary(line, "END") == Some(label) => break,
                Some(line) => body += line,
                None => return Err(format!("a PEM block of {label} does not end")),
            }
        }
        if body.is_empty() || STANDARD.decode(&body).is_err() {
            return Err(format!("a PEM block of {label} is not base64"));
        }
        out.push_str(&format!("-----BEGIN {label}-----\n"));
        let mut rest = body.as_str();
        while let Some((line, more)) = rest.split_at_checked(64) {
            out.push_str(line);
            out.push('\n');
            rest = more;
        }
        if !rest.is_empty() {
            out.push_str(rest);
            out.push('\n');
        }
        out.push_str(&format!("-----END {label}-----\n"));
        labels.push(label.to_owned());
    }
    Ok(labels)
}

fn boundary<'a>(line: &'a str, which: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?
        .strip_prefix(which)?
        .strip_prefix(' ')?
        .strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CRT: &str = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nREVG\n-----END PRIVATE KEY-----\n";

    fn pem_of(certificate: &str, key: &str) -> Result<String, String> {
        pem(&TlsSecret {
            namespace: "shop".to_owned(),
            name: "tls".to_owned(),
            certificate: Some(STANDARD.encode(certificate)),
            key: Some(STANDARD.encode(key)),
        })
    }

    #[test]
    fn certificate_and_key_are_joined_and_comments_dropped() {
        let crt = format!("subject: x\r\n{}", CRT.replace('\n', "\r\n"));
        assert_eq!(pem_of(&crt, KEY).unwrap(), format!("{CRT}{KEY}"));
    }

    #[test]
    fn what_haproxy_cannot_read_is_refused() {
        let encrypted = KEY.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nREVG\n-----END RSA PRIVATE KEY-----\n";
        for (crt, key, expected) in [
            ("", KEY, "`tls.crt` is no PEM certificate"),
            (KEY, KEY, "`tls.crt` is no PEM certificate"),
            (CRT, CRT, "`tls.key` is no unencrypted PEM key"),
            (CRT, "", "`tls.key` is no unencrypted PEM key"),
            (CRT, &encrypted, "`tls.key` is no unencrypted PEM key"),
            (
                CRT,
                old_encrypted,
                "a PEM block of RSA PRIVATE KEY is not base64",
            ),
            (&CRT[..40], KEY, "a PEM block of CERTIFICATE does not end"),
            (
                &CRT.replace("QUJD", "Q\0JD"),
                KEY,
                "a PEM block of CERTIFICATE is not base64",
            ),
        ] {
            assert_eq!(pem_of(crt, key).unwrap_err(), expected, "{crt:?} {key:?}");
        }
    }
}
