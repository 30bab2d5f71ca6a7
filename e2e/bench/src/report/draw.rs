//! How a picture is drawn: lines, bars, points of a distribution, as SVG.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries,
    PathElement, RGBColor, Rectangle, SVGBackend, SeriesLabelPosition, Text, WHITE,
};
use plotters::style::{BLACK, IntoFont};

use crate::mode::Mode;
use crate::results::QUANTILES;

const SIZE: (u32, u32) = (760, 380);
const LABEL: i32 = 14;
const CAPTION: i32 = 17;
/// The last point of a distribution is a single request: left out.
pub(super) const POINTS: usize = QUANTILES.len() - 1;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A line or a bar: its name, its colour, its points.
pub(super) type Series = (String, RGBColor, Vec<(f64, f64)>);

/// Draws one picture, unless there is nothing to be shown.
pub(super) fn add(
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

pub(super) fn wrong(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

/// Least and most of one coordinate.
fn range(series: &[Series], of: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = series.iter().flat_map(|(.., points)| points).map(of);
    values.fold((f64::INFINITY, 0.0), |(least, most), value| {
        (least.min(value), f64::max(most, value))
    })
}

fn builder<'a, 'b>(area: &'a Area<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(title, ("sans-serif", CAPTION))
        .margin(12)
        .margin_right(34)
        .x_label_area_size(28)
        .y_label_area_size(64);
    builder
}

/// Over percentiles, both axes as people look at latency.
pub(super) fn quantiles(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
    let (least, most) = range(series, |(_, y)| *y);
    #[expect(clippy::cast_precision_loss, reason = "a dozen points")]
    let end = (POINTS - 1) as f64;
    let mut chart = builder(area, title)
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
    draw_lines(&mut chart, series)
}

/// Over a logarithmic axis, from 0.
pub(super) fn over_log(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
    let (from, to) = range(series, |(x, _)| *x);
    let (_, most) = range(series, |(_, y)| *y);
    let mut chart = builder(area, title)
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
    draw_lines(&mut chart, series)
}

/// Over seconds, from 0.
pub(super) fn over_time(
    area: &Area<'_>,
    title: &str,
    series: &[Series],
    format: &dyn Fn(f64) -> String,
) -> Result<()> {
    let (_, end) = range(series, |(x, _)| *x);
    let (_, most) = range(series, |(_, y)| *y);
    let mut chart = builder(area, title)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.25)
        .map_err(wrong)?;
    chart
        .configure_mesh()
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .y_label_formatter(&|y| format(*y))
        .label_style(("sans-serif", LABEL).into_font())
        .draw()
        .map_err(wrong)?;
    draw_lines(&mut chart, series)
}

type Chart<'a, 'b, X, Y> =
    plotters::chart::ChartContext<'a, SVGBackend<'b>, plotters::prelude::Cartesian2d<X, Y>>;

fn draw_lines<'a, 'b: 'a, X, Y>(chart: &mut Chart<'a, 'b, X, Y>, series: &[Series]) -> Result<()>
where
    X: plotters::prelude::Ranged<ValueType = f64>,
    Y: plotters::prelude::Ranged<ValueType = f64>,
    SVGBackend<'b>: plotters::prelude::DrawingBackend,
{
    for (name, colour, points) in series {
        let style = colour.stroke_width(2);
        let line = LineSeries::new(points.iter().copied(), style);
        chart
            .draw_series(line)
            .map_err(wrong)?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        let dots = points
            .iter()
            .map(|point| Circle::new(*point, 3, colour.filled()));
        chart.draw_series(dots).map_err(wrong)?;
    }
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
pub(super) fn bars(area: &Area<'_>, title: &str, series: &[Series]) -> Result<()> {
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

/// The same in every picture.
pub(super) const fn colour(mode: Mode) -> RGBColor {
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
        Mode::Pipes => RGBColor(150, 80, 130),
    }
}
