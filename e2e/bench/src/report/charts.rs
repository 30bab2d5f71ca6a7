//! Charts, as SVG.

use anyhow::Result;

use super::draw::{POINTS, Series, add, bars, colour, over_log, over_time, quantiles};
use super::headline;
use crate::case::Tool;
use crate::mode::Mode;
use crate::results::{Moment, Sample};
use crate::share::middle;
use crate::summary::Summary;
use crate::topic::Topic;
use crate::wire::HOPS;

/// Connections of a picture over time.
const POOL: u32 = 64;

/// `(file name without .svg, SVG)` of every chart that there are figures for.
pub(super) fn all(summaries: &[&Summary], samples: &[&Sample]) -> Result<Vec<(String, String)>> {
    let mut charts = Vec::new();
    headline::picture(&mut charts, summaries)?;
    cold(&mut charts, samples)?;
    for (tool, name) in [(Tool::FortioTcp, "tcp"), (Tool::FortioHttp, "http")] {
        let of = |topic| {
            summaries
                .iter()
                .copied()
                .filter(move |s| s.case.topic == topic && s.case.tool == tool && !s.case.secure)
        };
        let title = tool.name();
        let latency: Vec<Series> = of(Topic::Echo)
            .filter(|s| matches!(s.mode, Mode::Plain | Mode::Auto | Mode::Tuple))
            .map(distribution)
            .collect();
        add(&mut charts, &format!("latency-{name}"), &latency, |area| {
            quantiles(
                area,
                &format!("{title}, 64 connections: latency, us"),
                &latency,
            )
        })?;
        let cpu: Vec<Series> = of(Topic::Echo).map(|s| bar(s, s.cpu_us.median)).collect();
        add(&mut charts, &format!("cpu-{name}"), &cpu, |area| {
            bars(
                area,
                &format!("{title}, 64 connections: CPU for each request, us"),
                &cpu,
            )
        })?;
        let by_connections = lines(of(Topic::Connections), |s| {
            Some((f64::from(s.case.connections), s.rate.median))
        });
        add(
            &mut charts,
            &format!("connections-{name}"),
            &by_connections,
            |area| {
                let title = format!("{title}, 1 KiB: requests/s by connections");
                over_log(area, &title, &by_connections)
            },
        )?;
    }
    let gain: Vec<Series> = [Tool::FortioTcp, Tool::FortioHttp]
        .into_iter()
        .zip([colour(Mode::Auto), colour(Mode::Proxy)])
        .filter_map(|(tool, colour)| {
            let points: Vec<_> = summaries
                .iter()
                .filter(|s| s.case.topic == Topic::Payloads && s.case.tool == tool)
                .filter(|s| s.mode == Mode::Auto)
                .filter_map(|s| Some((f64::from(s.case.payload), s.rate_ratio?.median)))
                .collect();
            (!points.is_empty()).then(|| (tool.name().to_owned(), colour, points))
        })
        .collect();
    add(&mut charts, "payloads", &gain, |area| {
        over_log(
            area,
            "requests/s by those of plain TCP, over payload in bytes",
            &gain,
        )
    })?;
    let hop: Vec<Series> = summaries
        .iter()
        .filter(|s| s.case.topic == Topic::Hop && s.case.payload == 1024)
        .map(|s| bar(s, s.rate.median))
        .collect();
    add(&mut charts, "hop", &hop, |area| {
        bars(area, "one hop on one CPU, 1 KiB: round trips/s", &hop)
    })?;
    let stream: Vec<Series> = summaries
        .iter()
        .filter(|s| s.case.topic == Topic::Bulk && matches!(s.mode, Mode::Plain | Mode::Auto))
        .map(|s| {
            let ways = match s.case.tool {
                Tool::Mirror => "both ways",
                _ => "one way",
            };
            let (_, colour, points) = bar(s, s.rate.median);
            (format!("{ways}, {}", s.mode.name()), colour, points)
        })
        .collect();
    add(&mut charts, "stream", &stream, |area| {
        bars(area, "one stream through both Envoys: MiB/s", &stream)
    })?;
    Ok(charts)
}

/// The first ten seconds: rate, share of bytes that no interface saw, first redirected bytes.
fn cold(charts: &mut Vec<(String, String)>, samples: &[&Sample]) -> Result<()> {
    for (tool, secure, name) in [
        (Tool::PoolTcp, false, "cold-tcp"),
        (Tool::PoolTcp, true, "cold-tcp-mtls"),
        (Tool::PoolHttp, false, "cold-http"),
        (Tool::PoolHttp, true, "cold-http-mtls"),
    ] {
        let of = |mode: Mode| {
            let samples = samples.iter().copied();
            samples.filter(move |s| {
                let case = &s.case;
                (case.topic, case.tool, case.connections) == (Topic::Cold, tool, POOL)
                    && (case.secure, s.mode) == (secure, mode)
            })
        };
        let title = if secure {
            format!("{}, mutual TLS", tool.name())
        } else {
            tool.name().to_owned()
        };
        let rates: Vec<Series> = [Mode::Plain, Mode::Auto, Mode::All]
            .into_iter()
            .map(|mode| {
                let points = moments(&of(mode).collect::<Vec<_>>(), |moment| moment.rate);
                (mode.name().to_owned(), colour(mode), points)
            })
            .filter(|(.., points)| !points.is_empty())
            .collect();
        add(charts, &format!("{name}-rate"), &rates, |area| {
            let title = format!("{title}: requests/s after {POOL} connections at once");
            over_time(area, &title, &rates, &|y| format!("{y:.0}"))
        })?;
        let plain: Vec<&Sample> = of(Mode::Plain).collect();
        let auto: Vec<&Sample> = of(Mode::Auto).collect();
        let shares: Vec<Series> = (0..HOPS.len())
            .filter_map(|hop| {
                let whole = middle(&plain, |s| s.wire[hop]);
                let points = moments(&auto, |moment| {
                    (100.0 * (1.0 - moment.wire[hop] / whole)).max(0.0)
                });
                let colours = [Mode::Auto, Mode::Proxy, Mode::Tuple].map(colour);
                (whole > 0.0 && !points.is_empty())
                    .then(|| (HOPS[hop].to_owned(), colours[hop], points))
            })
            .collect();
        add(charts, &format!("{name}-share"), &shares, |area| {
            let title = format!("{title}: bytes that no interface saw, by hop");
            over_time(area, &title, &shares, &|y| format!("{y:.0} %"))
        })?;
    }
    Ok(())
}

/// Medians of rounds at each moment.
fn moments(samples: &[&Sample], of: impl Fn(&Moment) -> f64) -> Vec<(f64, f64)> {
    let count = samples.iter().map(|s| s.measured.series.len()).min();
    let points = (0..count.unwrap_or(0)).map(|index| {
        let at = samples.first().map_or(0.0, |s| s.measured.series[index].at);
        let value = middle(samples, |s| of(&s.measured.series[index]));
        (at, value)
    });
    points.collect()
}

fn distribution(summary: &Summary) -> Series {
    let points = summary.latency.iter().take(POINTS).enumerate();
    #[expect(clippy::cast_precision_loss, reason = "a dozen points")]
    let points = points.map(|(i, (_, us))| (i as f64, us.max(1.0))).collect();
    (summary.mode.name().to_owned(), colour(summary.mode), points)
}

fn bar(summary: &Summary, value: f64) -> Series {
    let name = summary.mode.name().to_owned();
    (name, colour(summary.mode), vec![(0.0, value)])
}

fn lines<'a>(
    summaries: impl Iterator<Item = &'a Summary>,
    point: impl Fn(&Summary) -> Option<(f64, f64)>,
) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for summary in summaries {
        let name = summary.mode.name();
        let Some(point) = point(summary) else {
            continue;
        };
        match series.iter_mut().find(|(n, ..)| n == name) {
            Some((.., points)) => points.push(point),
            None => series.push((name.to_owned(), colour(summary.mode), vec![point])),
        }
    }
    series
}
