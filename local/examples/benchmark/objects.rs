//! Measures a server's start and its calls for objects per second, beside moto and beside any other server: an older
//! version of the local AWS, for example.

use anyhow::{Result, ensure};
use aws_sdk_s3::primitives::ByteStream;

use crate::rates::{self, Rates, rate};
use crate::server::{Server, s3};

/// How often each server is started and measured. The servers take turns, because the machine's speed varies.
const ROUNDS: usize = 3;
/// The size of an object in bytes.
const SIZE: usize = 4 * 1024;
/// The number of keys in a page of a list, which is also S3's maximum.
const PAGE: u64 = 1000;
/// The number of objects that are read and listed: the first page is not the last.
const OBJECTS: u64 = 2 * PAGE;

/// A way to get a server.
enum Source<'a> {
    Local,
    Moto,
    /// An address or a program.
    Other(&'a str),
}

impl Source<'_> {
    fn name(&self) -> &str {
        match self {
            Source::Local => "local AWS",
            Source::Moto => "moto",
            Source::Other(other) => other.rsplit('/').next().unwrap_or(other),
        }
    }

    fn start(&self) -> Result<Server> {
        match self {
            Source::Local => Server::local(),
            Source::Moto => Server::moto(),
            Source::Other(other) => Server::other(other),
        }
    }
}

/// Measures the local AWS, moto and others, each given by its address or its program (see [`Server::other`]), and prints
/// the medians.
pub async fn compare(others: &[&str]) -> Result<()> {
    let others = others.iter().map(|other| Source::Other(other));
    let sources: Vec<Source> = [Source::Local, Source::Moto].into_iter().chain(others).collect();
    let mut rounds: Vec<Vec<(Option<f64>, Rates)>> = sources.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (source, rounds) in sources.iter().zip(&mut rounds) {
            let server = source.start()?;
            let answers = server.first_answer().await?.map(|time| time.as_secs_f64() * 1000.0);
            rounds.push((answers, measure(&server).await?));
        }
    }
    let mut table = Vec::new();
    for (source, rounds) in sources.iter().zip(rounds) {
        if let Some(starts) = rounds.iter().map(|(start, _)| *start).collect::<Option<Vec<_>>>() {
            println!("{}: answers {:.0} ms after its start", source.name(), median(starts));
        }
        let of_row = |row: usize| median(rounds.iter().map(|(_, rates)| rates[row].1).collect());
        let rates = rounds[0].1.iter().enumerate().map(|(row, (operation, _))| (*operation, of_row(row)));
        table.push((source.name(), rates.collect()));
    }
    rates::print(&table);
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn measure(server: &Server) -> Result<Rates> {
    let s3 = s3(&server.config().await);
    for bucket in ["pages", "uploads"] {
        s3.create_bucket().bucket(bucket).send().await?;
    }
    for number in 0..OBJECTS {
        put_object(&s3, "pages", number).await?;
    }
    let put = rate(|number| put_object(&s3, "uploads", number)).await?;
    Ok(vec![
        ("PutObject 4 KiB", put),
        ("GetObject 4 KiB", get_objects(&s3).await?),
        ("ListObjectsV2", list_objects(&s3).await?),
    ])
}

fn put_object(s3: &aws_sdk_s3::Client, bucket: &str, number: u64) -> impl Future<Output = Result<()>> + Send + use<> {
    let put = s3.put_object().bucket(bucket).key(key(number)).body(ByteStream::from(vec![7; SIZE]));
    async move { Ok(put.send().await.map(drop)?) }
}

async fn get_objects(s3: &aws_sdk_s3::Client) -> Result<f64> {
    rate(|number| {
        let get = s3.get_object().bucket("pages").key(key(number % OBJECTS));
        async move {
            let bytes = get.send().await?.body.collect().await?.into_bytes();
            ensure!(bytes.len() == SIZE, "an object of {} bytes", bytes.len());
            Ok(())
        }
    })
    .await
}

/// Lists the first page again and again.
async fn list_objects(s3: &aws_sdk_s3::Client) -> Result<f64> {
    rate(|_| {
        let list = s3.list_objects_v2().bucket("pages");
        async move {
            let page = list.send().await?;
            let (keys, more) = (page.contents().len(), page.is_truncated().unwrap_or(false));
            ensure!(keys as u64 == PAGE && more, "a page of {keys} keys, and more: {more}");
            Ok(())
        }
    })
    .await
}

fn key(number: u64) -> String {
    format!("pictures/{number:08}.jpg")
}
