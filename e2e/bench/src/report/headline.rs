//! What is read first: both protocols, warm and cold, without and with mutual TLS.

use anyhow::Result;
use plotters::prelude::{
    ChartBuilder, Color, IntoDrawingArea, PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
};
use plotters::style::IntoFont;

use super::cells;
use super::draw::{colour, wrong};
use crate::case::Tool;
use crate::mode::Mode;
use crate::summary::Summary;
use crate::topic::Topic;

/// Heads of the table's columns.
pub(super) const HEAD: [&str; 9] = [
    "what",
    "connections",
    "plain",
    "accelerated",
    "by plain",
    "average latency by plain",
    "CPU for each by plain",
    "scope all by plain",
    "bytes that no interface saw: outbound / inbound / app",
];
/// Connections of a row.
const CONNECTIONS: u32 = 64;
const PAYLOAD: u32 = 1024;
const SIZE: (u32, u32) = (860, 380);

/// A row: what, how it starts, what is spoken between the Envoys.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    topic: Topic,
    tool: Tool,
    secure: bool,
}

/// Every row.
fn rows() -> Vec<Row> {
    let kinds = [
        ("TCP", Tool::FortioTcp, Tool::PoolTcp),
        ("HTTP", Tool::FortioHttp, Tool::PoolHttp),
    ];
    let row = |name, topic, tool, secure| Row {
        name,
        topic,
        tool,
        secure,
    };
    let of = |(name, warm, cold)| {
        [false, true].into_iter().flat_map(move |secure| {
            [
                row(name, Topic::Echo, warm, secure),
                row(name, Topic::Cold, cold, secure),
            ]
        })
    };
    kinds.into_iter().flat_map(of).collect()
}

impl Row {
    fn find<'a>(self, summaries: &[&'a Summary], mode: Mode) -> Option<&'a Summary> {
        let wanted = |summary: &&&Summary| {
            let case = &summary.case;
            (case.topic, case.tool, case.secure) == (self.topic, self.tool, self.secure)
                && (case.connections, case.payload) == (CONNECTIONS, PAYLOAD)
                && summary.mode == mode
        };
        summaries.iter().find(wanted).copied()
    }

    fn name(self) -> String {
        let tls = if self.secure { ", mutual TLS" } else { "" };
        format!("{} echo{tls}", self.name)
    }

    const fn start(self) -> &'static str {
        match self.topic {
            Topic::Cold => "64, cold: first 10 s",
            _ => "64, warm",
        }
    }
}

/// The table, as far as it was measured.
pub(super) fn table(summaries: &[&Summary]) -> Vec<[String; HEAD.len()]> {
    let of = |row: Row| {
        let (plain, auto) = (
            row.find(summaries, Mode::Plain)?,
            row.find(summaries, Mode::Auto)?,
        );
        let all = row.find(summaries, Mode::All);
        let ratio = |spread| cells::ratio(spread, false);
        Some([
            row.name(),
            row.start().to_owned(),
            format!("{} requests/s", cells::number(plain.rate.median)),
            format!("{} requests/s", cells::number(auto.rate.median)),
            ratio(auto.rate_ratio.as_ref()),
            ratio(auto.mean_ratio.as_ref()),
            ratio(auto.cpu_ratio.as_ref()),
            ratio(all.and_then(|all| all.rate_ratio.as_ref())),
            cells::shares(auto),
        ])
    };
    rows().into_iter().filter_map(of).collect()
}

/// The same as a picture: requests/s by those of plain TCP.
pub(super) fn picture(charts: &mut Vec<(String, String)>, summaries: &[&Summary]) -> Result<()> {
    let bars: Vec<(String, RGBColor, f64)> = rows()
        .into_iter()
        .filter_map(|row| {
            let ratio = row.find(summaries, Mode::Auto)?.rate_ratio?.median;
            let start = match row.topic {
                Topic::Cold => "cold",
                _ => "warm",
            };
            let colour = colour(if row.secure { Mode::All } else { Mode::Auto });
            let tls = if row.secure { " mTLS" } else { "" };
            Some((format!("{}{tls}, {start}", row.name), colour, ratio))
        })
        .collect();
    if bars.is_empty() {
        return Ok(());
    }
    let most = bars.iter().map(|(.., ratio)| *ratio).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(wrong)?;
        #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
        let count = bars.len() as f64;
        let mut chart = ChartBuilder::on(&area)
            .caption(
                "requests/s through both Envoys on one node, by plain TCP",
                ("sans-serif", 18),
            )
            .margin(14)
            .x_label_area_size(34)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..count, 0.0..most * 1.2)
            .map_err(wrong)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_label_formatter(&|y| format!("{y:.1}x"))
            .label_style(("sans-serif", 13).into_font())
            .draw()
            .map_err(wrong)?;
        let mut at = 0.0;
        for (name, colour, ratio) in &bars {
            let bar = Rectangle::new([(at + 0.15, 0.0), (at + 0.85, *ratio)], colour.filled());
            chart.draw_series([bar]).map_err(wrong)?;
            let figure = Text::new(
                format!("{ratio:.2}x"),
                (at + 0.3, ratio + most * 0.07),
                ("sans-serif", 15),
            );
            chart.draw_series([figure]).map_err(wrong)?;
            // What is outside the axes' range is drawn by pixels.
            let (across, down) = chart.plotting_area().get_pixel_range();
            #[expect(clippy::cast_possible_truncation, reason = "pixels of a picture")]
            let x =
                across.start + (f64::from(across.end - across.start) * (at + 0.1) / count) as i32;
            let below = Text::new(name.clone(), (x, down.end + 8), ("sans-serif", 12));
            area.draw(&below).map_err(wrong)?;
            at += 1.0;
        }
        let plain = PathElement::new(
            [(0.0, 1.0), (count, 1.0)],
            RGBColor(90, 90, 90).stroke_width(2),
        );
        chart.draw_series([plain]).map_err(wrong)?;
        area.present().map_err(wrong)?;
    }
    charts.push(("headline".to_owned(), svg));
    Ok(())
}
