//! The tables come by themselves, once, and beside whatever else the database holds.

use drs_backend::{BackendError, Catalog};
use tokio::task::JoinSet;

use crate::{config, connect, fresh, host, refusal, sql};

const VERSIONS: &str = "SELECT version FROM drs.drs_schema ORDER BY version";
const TABLES: &str = "\
    SELECT table_schema, table_name FROM information_schema.tables \
    WHERE table_schema IN ('public', 'drs') ORDER BY 1, 2";

#[tokio::test(flavor = "multi_thread")]
async fn eight_that_connect_at_once_to_an_empty_database_all_succeed() {
    for _ in 0..3 {
        let url = fresh();
        let mut connecting = JoinSet::new();
        for i in 0..8 {
            let config = config(&url);
            connecting.spawn(async move {
                let catalog = drs_backend_postgres::PostgresCatalog::connect(&config).await?;
                catalog.add_host(&host(&format!("h{i}"))).await
            });
        }
        for connected in connecting.join_all().await {
            connected.expect("connected");
        }
        assert_eq!(sql(&url, VERSIONS).await, "1\n2");
        assert_eq!(sql(&url, "SELECT count(*) FROM drs.host").await, "8");
    }
}

#[tokio::test]
async fn what_is_written_is_there_for_who_connects_next() {
    let url = fresh();
    connect(&url).await.expect("connected").add_host(&host("dc")).await.expect("added");
    let again = connect(&url).await.expect("connected");
    assert_eq!(again.hosts().await.expect("read"), [host("dc")]);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_not_changed() {
    let url = fresh();
    let newer = "\
        CREATE SCHEMA drs; CREATE TABLE drs.drs_schema (version bigint); \
        INSERT INTO drs.drs_schema VALUES (1), (99)";
    sql(&url, newer).await;
    let database = url.rsplit('/').next().expect("a name");
    match refusal(&config(&url)).await {
        BackendError::TooNew { what, found: 99, known: 2 } => {
            assert!(what.starts_with("PostgreSQL at 127.0.0.1:"), "{what}");
            assert!(what.ends_with(database), "{what}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(sql(&url, TABLES).await, "drs|drs_schema");
    assert_eq!(sql(&url, VERSIONS).await, "1\n99");
}

#[tokio::test]
async fn other_tables_of_the_database_stay_as_they_are() {
    let url = fresh();
    let theirs = "CREATE TABLE host (mine text); INSERT INTO host VALUES ('x')";
    sql(&url, theirs).await;
    let catalog = connect(&url).await.expect("connected");
    catalog.add_host(&host("dc")).await.expect("added");
    assert_eq!(sql(&url, "SELECT * FROM public.host").await, "x");
    let tables = sql(&url, TABLES).await;
    let ours = tables.strip_suffix("\npublic|host").expect("theirs, and no other in that schema");
    assert!(ours.lines().all(|table| table.starts_with("drs|")), "{ours}");
}

#[tokio::test]
async fn settings_of_the_database_do_not_matter() {
    let url = fresh();
    let database = url.rsplit('/').next().expect("a name");
    let settings = format!(
        "ALTER DATABASE {database} SET search_path = nowhere; \
         ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'; \
         ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'; \
         ALTER DATABASE {database} SET DateStyle = 'German'"
    );
    sql(&url, &settings).await;
    let (one, other) = tokio::join!(connect(&url), connect(&url));
    other.expect("connected");
    let catalog = one.expect("connected");
    catalog.add_host(&host("dc")).await.expect("added");
    assert_eq!(catalog.hosts().await.expect("read"), [host("dc")]);
}

#[tokio::test]
async fn a_user_without_the_right_to_make_tables_is_told_so_and_needs_none_when_they_are_there() {
    let url = fresh();
    let database = url.rsplit('/').next().expect("a name");
    let guest = format!("guest_of_{database}");
    sql(&url, &format!("CREATE ROLE {guest} LOGIN PASSWORD 'secret'")).await;
    let as_guest = url.replace("drs:", &format!("{guest}:"));
    match refusal(&config(&as_guest)).await {
        BackendError::Refused { reason, remedy, .. } => {
            assert!(reason.contains("permission denied for database"), "{reason}");
            assert!(remedy.contains("CREATE SCHEMA drs"), "{remedy}");
        }
        other => panic!("{other:?}"),
    }
    connect(&url).await.expect("the owner connects");
    let granted = format!(
        "GRANT USAGE ON SCHEMA drs TO {guest}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA drs TO {guest}"
    );
    sql(&url, &granted).await;
    let catalog = connect(&as_guest).await.expect("the guest connects");
    catalog.add_host(&host("dc")).await.expect("added");
}

#[tokio::test]
async fn a_schema_that_was_made_for_the_user_is_enough() {
    let url = fresh();
    let database = url.rsplit('/').next().expect("a name");
    let owner = format!("owner_in_{database}");
    let prepared = format!(
        "CREATE ROLE {owner} LOGIN PASSWORD 'secret'; CREATE SCHEMA drs AUTHORIZATION {owner}"
    );
    sql(&url, &prepared).await;
    let catalog = connect(&url.replace("drs:", &format!("{owner}:"))).await.expect("connected");
    catalog.add_host(&host("dc")).await.expect("added");
}
