//! hyper on tokio, as the end-to-end tests run it: `serve PORT DIR` gives files
//! of a directory by GET, and by POST the checksum of what came; `get|put
//! fast|slow HOST:PORT COUNT NAME...` does so on one connection.

mod client;
mod reading;
mod server;

use std::env;

use anyhow::{Context as _, Result, bail};

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *arguments {
        ["serve", port, root] => server::serve(port.parse().context("PORT")?, root).await,
        [verb @ ("get" | "put"), speed, to, count, ref names @ ..] => {
            let count = count.parse().context("COUNT")?;
            client::transfer(verb == "get", speed, to, count, names).await
        }
        _ => bail!("serve PORT DIR, or get|put fast|slow HOST:PORT COUNT NAME..."),
    }
}
