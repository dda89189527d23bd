import Formats
import Foundation
import Pleat
import TensorModel
import TestSupport
import Testing

/// Compares the table of conversions of groups with the code, and each cell with a run.
///
/// With `PLEAT_RECORD=1` in the environment, the table is written instead of compared.
@Suite struct RepackTableTests {
  private static let path = Fixtures.repository + "/formats/README.md"
  private static let isRecording = ProcessInfo.processInfo.environment["PLEAT_RECORD"] == "1"

  @Test("the table of conversions of groups in formats/README.md matches the planner")
  func document() throws {
    let begin = "<!-- repacking: PLEAT_RECORD=1 writes it -->\n"
    let end = "<!-- end of repacking -->"
    let text = String(decoding: try Files.bytes(of: Self.path), as: UTF8.self)
    let start = try #require(text.range(of: begin)?.upperBound)
    let stop = try #require(text.range(of: end)?.lowerBound)
    guard Self.isRecording else {
      #expect(String(text[start..<stop]) == RepackTable.text)
      return
    }
    let recorded = text.replacingCharacters(in: start..<stop, with: RepackTable.text)
    try recorded.write(toFile: Self.path, atomically: true, encoding: .utf8)
  }

  /// The rows that a pleat file can store, with each format that can store their groups.
  static let cases = RepackTable.rows.filter { !$0.grouping.isScattered }.flatMap { row in
    RepackTable.formats.filter { !["–", "decoded"].contains(RepackTable.cell(row, $0)) }
      .map { Case(row: row, format: $0) }
  }

  struct Case: CustomTestStringConvertible, Sendable {
    var row: RepackTable.Row
    var format: Format
    var testDescription: String { "\(row.name) to \(format.name)" }
  }

  @Test(
    "codes and scales stay the same, and offsets are as exact as the table says (seed 90)",
    arguments: cases)
  func run(repack: Case) throws {
    let (grouping, format) = (repack.row.grouping, repack.format)
    let folder = try Folder()
    let source = try quantized(grouping, in: folder)
    let name = [.gguf, .pleat].contains(format) ? "out.\(format.name)" : "out"
    let destination = Destination(path: folder.scratch.path(name), format: format)
    try Run(try Plan.converting(source, to: destination, rounding: true))()
    // A pleat file can store the groups of every format, and the test can read it.
    let back = Destination(path: folder.scratch.path("back.pleat"), format: .pleat)
    try Run(try Plan.converting(try Model.open(destination.path), to: back))()
    let before = try #require(try StoredGroups(source, "a.weight"))
    let after = try #require(try StoredGroups(try Model.open(back.path), "a.weight"))
    let (old, new) = (before.grouping, after.grouping)
    let repeats = old.groupSize / new.groupSize
    let shift = new.offset == .none ? new.centralCode - old.centralCode : 0
    #expect(after.codes.map(Int.init) == before.codes.map { Int($0) + shift })
    let cell = RepackTable.cell(repack.row, format)
    let scales = before.scales.flatMap { repeatElement($0, count: repeats) }
    // Even --round changes no scale here, since these BF16 scales fit F16.
    #expect(after.scales == scales)
    let offsets = before.offsets.flatMap { repeatElement($0, count: repeats) }
    for (index, (found, expected)) in zip(after.offsets, offsets).enumerated() {
      let bound =
        if cell.contains("--round"), new.offset != .bias {
          abs(scales[index]) / 2 + abs(expected) * 0x1p-20
        } else if cell.contains("round") {
          abs(expected) * (new.parameters == .bf16 ? 0x1p-8 : 0x1p-11)
        } else {
          0.0
        }
      #expect(abs(found - expected) <= bound, "group \(index): \(found), expected \(expected)")
    }
  }

  /// A pleat file with one weight that has positive and negative values.
  private func quantized(_ grouping: Grouping, in folder: Folder) throws -> Model {
    let source = try folder.checkpoint(
      [Toy("a.weight", .f32, [64, 512], seed: 90)], metadata: [("general.architecture", "llama")])
    let schemes: [Grouping.Offset: String] = [
      .none: "symmetric", .zeroPoint: "zeropoint", .bias: "minmax",
    ]
    return try folder.quantize(
      source,
      try .with(
        bits: grouping.bits, group: .columns(grouping.groupSize), scheme: schemes[grouping.offset],
        parameters: grouping.parameters), to: "source.pleat")
  }
}
