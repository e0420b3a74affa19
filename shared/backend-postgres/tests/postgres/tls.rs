//! An encrypted connection goes to the server that is meant, or nowhere.

use std::path::PathBuf;

use drs_backend::{BackendError, Catalog};
use drs_backend_postgres::{PostgresCatalog, PostgresConfig};
use drs_lab_servers::Postgres;

use crate::{config, refusal};

/// A server that makes itself a certificate for `localhost`, and the file of it.
fn encrypting() -> (Postgres, PathBuf) {
    let server = Postgres::start();
    let folder = server.dir().join("data");
    let make = format!(
        "cd {} && umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
         -keyout server.key -out server.crt 2>&1",
        folder.display()
    );
    server.sql(&format!("COPY (SELECT 1) TO PROGRAM '{make}'"));
    server.sql("ALTER SYSTEM SET ssl = on");
    server.restart();
    (server, folder.join("server.crt"))
}

#[tokio::test]
async fn a_server_is_believed_when_its_certificate_is_signed_and_bears_its_name() {
    let (server, ca_file) = encrypting();
    let to = |host: &str, mode: &str, ca_file: Option<PathBuf>| {
        let config = config(&server.url());
        let url = format!("{}?sslmode={mode}", config.url.replace("127.0.0.1", host));
        PostgresConfig { url, ca_file, ..config }
    };
    let encrypted = "\
        SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'drs'";
    for (mode, wanted) in
        [("prefer", "t"), ("require", "t"), ("verify-full", "t"), ("disable", "f")]
    {
        let config = to("localhost", mode, Some(ca_file.clone()));
        let catalog = PostgresCatalog::connect(&config).await.expect(mode);
        assert_eq!(catalog.hosts().await.expect("read"), []);
        assert_eq!(server.sql(encrypted).trim(), wanted, "{mode}");
    }
    for mode in ["prefer", "require"] {
        for (host, ca_file, wanted) in [
            ("localhost", None, "UnknownIssuer"),
            ("127.0.0.1", Some(ca_file.clone()), "not valid for name"),
        ] {
            match refusal(&to(host, mode, ca_file)).await {
                BackendError::Refused { reason, .. } => {
                    assert!(reason.contains(wanted), "{host} {mode}: {reason}");
                }
                other => panic!("{host} {mode}: {other:?}"),
            }
        }
    }
}
