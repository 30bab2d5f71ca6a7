//! Charts, as SVG.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries,
    PathElement, RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, Text, WHITE,
};
use plotters::style::{BLACK, IntoFont};

use crate::case::Tool;
use crate::jobs::Topic;
use crate::mode::Mode;
use crate::results::{QUANTILES, Summary};

const SIZE: (u32, u32) = (760, 380);
const LABEL: i32 = 14;
const CAPTION: i32 = 17;
/// The last point of a distribution is a single request: left out.
const POINTS: usize = QUANTILES.len() - 1;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A line or a bar: its name, its colour, its points.
type Series = (String, RGBColor, Vec<(f64, f64)>);

const fn colour(mode: Mode) -> RGBColor {
    match mode {
        Mode::Plain => RGBColor(120, 120, 120),
        Mode::Auto => RGBColor(0, 114, 178),
        Mode::All => RGBColor(86, 180, 233),
        Mode::Proxy => RGBColor(0, 158, 115),
        Mode::Tuple => RGBColor(230, 159, 0),
        Mode::Blind => RGBColor(213, 94, 0),
        Mode::Full => RGBColor(160, 110, 60),
        Mode::Other => RGBColor(240, 228, 66),
        Mode::Unix => RGBColor(204, 121, 167),
    }
}

/// `(file name without .svg, SVG)` of every chart that there are figures for.
pub(super) fn all(summaries: &[&Summary]) -> Result<Vec<(String, String)>> {
    let mut charts = Vec::new();
    for (tool, name) in [(Tool::FortioTcp, "tcp"), (Tool::FortioHttp, "http")] {
        let of = |topic| {
            summaries
                .iter()
                .copied()
                .filter(move |s| s.case.topic == topic && s.case.tool == tool)
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
    Ok(charts)
}

fn add(
    charts: &mut Vec<(String, String)>,
    name: &str,
    series: &[Series],
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<()> {
    if series.is_empty() {
        return Ok(());
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(wrong)?;
        draw(&area)?;
        area.present().map_err(wrong)?;
    }
    charts.push((name.to_owned(), svg));
    Ok(())
}

fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
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

/// Least and most of one coordinate.
fn range(series: &[Series], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = series.iter().flat_map(|(.., points)| points).map(of);
    values.fold((f64::INFINITY, 0.0), |(least, most), value| {
        (least.min(value), f64::max(most, value))
    })
}

/// Over percentiles, both axes as people look at latency.
fn quantiles(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
    let (least, most) = range(series, |(_, y)| *y);
    #[expect(clippy::cast_precision_loss, reason = "a dozen points")]
    let end = (POINTS - 1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", CAPTION))
        .margin(12)
        .margin_right(34)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, (least * 0.8..most * 1.3).log_scale())
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .x_labels(POINTS)
        .x_label_formatter(&|x| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 11"
            )]
            let index = x.round() as usize;
            QUANTILES
                .get(index)
                .map(|percent| format!("p{percent}"))
                .unwrap_or_default()
        })
        .y_labels(6)
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", LABEL).into_font())
        .draw()
        .map_err(wrong)?;
    for (name, colour, points) in series {
        draw_line(&mut chart, name, *colour, points)?;
    }
    legend(&mut chart)
}

/// Over a logarithmic axis, from 0.
fn over_log(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
    let (from, to) = range(series, |(x, _)| *x);
    let (_, most) = range(series, |(_, y)| *y);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", CAPTION))
        .margin(12)
        .margin_right(34)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d((from * 0.9..to * 1.1).log_scale(), 0.0..most * 1.15)
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| {
            if most < 20.0 {
                format!("{y:.1}x")
            } else {
                format!("{y:.0}")
            }
        })
        .label_style(("sans-serif", LABEL).into_font())
        .draw()
        .map_err(wrong)?;
    for (name, colour, points) in series {
        draw_line(&mut chart, name, *colour, points)?;
    }
    legend(&mut chart)
}

type Chart<'a, 'b, X, Y> =
    plotters::chart::ChartContext<'a, SVGBackend<'b>, plotters::prelude::Cartesian2d<X, Y>>;

fn draw_line<'b, X, Y>(
    chart: &mut Chart<'_, 'b, X, Y>,
    name: &str,
    colour: RGBColor,
    points: &[(f64, f64)],
) -> Result<()>
where
    X: plotters::prelude::Ranged<ValueType = f64>,
    Y: plotters::prelude::Ranged<ValueType = f64>,
    SVGBackend<'b>: plotters::prelude::DrawingBackend,
{
    let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
    chart
        .draw_series(line)
        .map_err(wrong)?
        .label(name)
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    let dots = points
        .iter()
        .map(|point| Circle::new(*point, 3, colour.filled()));
    chart.draw_series(dots).map_err(wrong)?;
    Ok(())
}

fn legend<'a, 'b: 'a, X, Y>(chart: &mut Chart<'a, 'b, X, Y>) -> Result<()>
where
    X: plotters::prelude::Ranged<ValueType = f64>,
    Y: plotters::prelude::Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", LABEL))
        .draw()
        .map_err(wrong)
}

/// One bar for each series, with its figure.
fn bars(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
    let (_, most) = range(series, |(_, y)| *y);
    #[expect(clippy::cast_precision_loss, reason = "a handful of bars")]
    let count = series.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", CAPTION))
        .margin(12)
        .margin_right(48)
        .x_label_area_size(12)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..count, 0.0..most * 1.2)
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_label_formatter(&|y| format!("{y:.0}"))
        .label_style(("sans-serif", LABEL).into_font())
        .draw()
        .map_err(wrong)?;
    let mut at = 0.0;
    for (name, colour, points) in series {
        let value = points.first().map_or(0.0, |(_, y)| *y);
        let bar = Rectangle::new([(at + 0.2, 0.0), (at + 0.8, value)], colour.filled());
        chart.draw_series([bar]).map_err(wrong)?;
        let shown = if value < 100.0 {
            format!("{name}: {value:.1}")
        } else {
            format!("{name}: {value:.0}")
        };
        let text = Text::new(
            shown,
            (at + 0.2, value + most * 0.06),
            ("sans-serif", LABEL),
        );
        chart.draw_series([text]).map_err(wrong)?;
        at += 1.0;
    }
    Ok(())
}
