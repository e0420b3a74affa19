use drs_lab_servers::{PASSWORD, Postgres};
use drs_model::{Phase, Secret};

use super::*;
use crate::PostgresConfig;

/// Twenty thousand jobs of a thousand VMs on ten hosts, one in ten of them failed.
const MANY: &str = "\
    INSERT INTO drs.job_history (id, kind, subject, host, phase, attempt, created_at, ended_at, record) \
    SELECT gen_random_uuid(), 'backup', 'h' || n % 10 || '/vm' || n % 1000, 'h' || n % 10, \
        CASE n % 10 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 1, \
        'epoch'::timestamptz + n * interval '1 s', 'epoch'::timestamptz + n * interval '2 s', '{}' \
    FROM generate_series(1, 20000) AS n";

#[tokio::test]
async fn no_list_reads_the_whole_table() {
    let url = Postgres::shared().fresh_database().replace(&format!(":{PASSWORD}@"), "@");
    let password = Some(Secret::new(PASSWORD));
    let config = PostgresConfig { password, ..PostgresConfig::new(url) };
    let PostgresCatalog { database } = PostgresCatalog::connect(&config).await.expect("connected");
    for sql in [MANY, "ANALYZE drs.job_history"] {
        database.rows(sql, &[]).await.expect(sql);
    }
    let before = Some(JobId::from_key("a"));
    let about = |subject: &str| JobFilter { subject: Some(subject.into()), ..JobFilter::default() };
    let failed = JobFilter { phases: vec![Phase::Failed], ..JobFilter::default() };
    for filter in [
        JobFilter::default(),
        JobFilter { before, ..JobFilter::default() },
        about("h1"),
        JobFilter { before, ..about("h1") },
        about("h1/vm1"),
        JobFilter { before, ..about("h1/vm1") },
        failed.clone(),
        JobFilter { before, ..failed.clone() },
        JobFilter { phases: vec![Phase::Failed, Phase::Cancelled], before, ..about("h1") },
    ] {
        let (sql, values) = list_query(&filter);
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        let lines = database.rows(&format!("EXPLAIN {sql}"), &values).await.expect("a plan");
        let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
        assert!(plan.iter().any(|line| line.contains("Index Scan")), "{sql}: {plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{sql}: {plan:#?}");
    }
}
