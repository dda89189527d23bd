import Formats
import Pleat
import TensorModel

/// The table of conversions of groups in `formats/README.md`.
///
/// A row is a grouping, a column is an output format.
struct RepackTable {
  /// A grouping, under the name that its formats have for it.
  struct Row {
    var name: String
    var grouping: Grouping
  }

  private static func row(
    _ name: String, _ bits: Int, _ size: Int, _ offset: Grouping.Offset,
    _ parameters: ScalarType = .f16, isScattered: Bool = false
  ) -> Row {
    Row(
      name: name,
      grouping: Grouping(
        bits: bits, groupSize: size, offset: offset, parameters: parameters,
        isScattered: isScattered))
  }

  static let rows: [Row] = [
    row("Q4_0", 4, 32, .none), row("Q5_0", 5, 32, .none), row("Q8_0", 8, 32, .none),
    row("Q4_1", 4, 32, .bias), row("Q5_1", 5, 32, .bias),
    row("`mlx`, 4 bits, groups of 64", 4, 64, .bias),
    row("the same with BF16", 4, 64, .bias, .bf16), row("`mlx`, 3 bits", 3, 64, .bias),
    row("`mlx`, 5 bits", 5, 64, .bias), row("`mlx`, 8 bits", 8, 64, .bias),
    row("symmetric: `gptq`, `compressed-tensors`, 4 bits, groups of 128", 4, 128, .none),
    row("the same with BF16", 4, 128, .none, .bf16), row("the same with 8 bits", 8, 128, .none),
    row("zero points: `gptq`, `awq`, `compressed-tensors`, 4 bits, 128", 4, 128, .zeroPoint),
    row("the same with BF16", 4, 128, .zeroPoint, .bf16),
    row("the same with 3 bits", 3, 128, .zeroPoint),
    row("the same with 8 bits", 8, 128, .zeroPoint),
    row("`gptq` with `desc_act`, scattered groups", 4, 128, .zeroPoint, isScattered: true),
  ]

  /// The formats of the columns.
  static let formats = Formats.all

  /// The result of a conversion, in the words of the table.
  static func cell(_ row: Row, _ format: Format) -> String {
    let info = TensorInfo(
      name: "a.weight", shape: Shape(256, 512), encoding: .grouped(row.grouping))
    do throws(ModelError) {
      return try words(ConversionPlanner(format: format, type: nil).decide(info), format)
    } catch {
      return "–"
    }
  }

  private static func words(_ wish: TensorWish, _ format: Format) -> String {
    let type = format == .gguf ? " \(GGMLCodec.name(of: wish.target.encoding))" : ""
    let admission = format.admission(of: wish.target)
    if case .refused = admission { return "–" }
    let isRounded = if case .rounded = admission { true } else { false }
    switch wish.transform {
    case .copy: return (isRounded ? "`--round`" : "same") + type
    case .regroup(let target, _):
      guard case .grouped(let source) = wish.source.encoding else { return "?" }
      if target.offset == .zeroPoint {
        return (isRounded ? "`--round`" : "same") + ", with zero point"
      }
      return (source.offset == .zeroPoint ? "bias rounded" : "same, with bias") + type
    case .rearrange: return "same" + type
    case .encode(_, .rows): return "decoded"
    case .encode, .moveMinima, .omit: return "?"
    }
  }

  /// The table as Markdown.
  static var text: String {
    var lines = [
      "| stored as | " + formats.map { "`\($0.name)`" }.joined(separator: " | ") + " |",
      "|" + String(repeating: "---|", count: formats.count + 1),
    ]
    for row in rows {
      lines.append(
        "| \(row.name) | " + formats.map { cell(row, $0) }.joined(separator: " | ") + " |")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
