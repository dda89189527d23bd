import Adapters
import Bytes
import Formats
import Foundation
import Pleat
import TensorModel
import TestSupport
import Testing

/// Compares the lists and tables of `formats/adapters.md` with the code.
///
/// With `PLEAT_RECORD=1` in the environment, the table of decisions is written instead of
/// compared.
@Suite struct AdapterTableTests {
  private static let path = Fixtures.repository + "/formats/adapters.md"
  private static let isRecording = ProcessInfo.processInfo.environment["PLEAT_RECORD"] == "1"

  private static func document() throws -> String {
    String(decoding: try Files.bytes(of: path), as: UTF8.self)
  }

  /// The cells of all table rows whose first cell satisfies `accepts`.
  private static func rows(where accepts: (String) -> Bool) throws -> [[String]] {
    try document().split(separator: "\n").filter { $0.hasPrefix("|") }.map { line in
      line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast().map {
        $0.trimmingCharacters(in: .whitespaces)
      }
    }.filter { accepts($0[0]) }
  }

  private static func rows(of name: String) throws -> [[String]] {
    try rows { $0 == "`\(name)`" }
  }

  // MARK: - Decisions

  @Test("the table of decisions in formats/adapters.md is that of the planner")
  func decisions() throws {
    let begin = "<!-- decisions: PLEAT_RECORD=1 writes them -->\n"
    let end = "<!-- end of decisions -->"
    let text = try Self.document()
    let start = try #require(text.range(of: begin)?.upperBound)
    let stop = try #require(text.range(of: end)?.lowerBound)
    let table = try AdapterTable().text
    guard Self.isRecording else {
      #expect(String(text[start..<stop]) == table)
      return
    }
    let recorded = text.replacingCharacters(in: start..<stop, with: table)
    try recorded.write(toFile: Self.path, atomically: true, encoding: .utf8)
  }

  @Test("decisions depend neither on the format of plain tensors nor on bits below 8")
  func independence() throws {
    let table = try AdapterTable()
    for type in [ScalarType.f16, .bf16, .f32] {
      let row = AdapterTable.Row("", .plain(type), .safetensors)
      for format in Formats.all {
        #expect(
          try table.cells(of: row) == table.cells(of: .init("", .plain(type), format)),
          "\(format.name) \(type.name)")
      }
    }
    // Groups with a bias have the same decisions in MLX and pleat files.
    for type in Grouping.supportedParameters {
      let cells = try [Format.mlx, .pleat].map { format in
        try table.cells(of: .groups("", .bias, type, in: format))
      }
      #expect(cells[0] == cells[1], "\(type.name)")
    }
    for offset in Grouping.Offset.allCases {
      let cells = try Grouping.supportedBits.filter { $0 < 8 }.map { bits in
        try table.cells(of: .groups("", offset, bits: bits))
      }
      #expect(cells.allSatisfy { $0 == cells[0] }, "\(offset)")
    }
  }

  // MARK: - Input and output

  @Test("formats/adapters.md lists every kind of adapter file with its tool")
  func kinds() throws {
    for kind in AdapterKind.allCases {
      let row = try #require(try Self.rows(of: kind.rawValue).first, "\(kind)")
      #expect(row[1] == kind.tool)
    }
  }

  @Test("formats/adapters.md lists every pooling with its factors")
  func poolings() throws {
    for pooling in Pooling.allCases {
      #expect(try !Self.rows(of: pooling.rawValue).isEmpty, "\(pooling)")
    }
    // A row has the columns, the group size, then the factor of each pooling.
    let rows = try Self.rows { $0 == "4096" || $0 == "11008" || $0 == "1024" || $0 == "256" }
    #expect(rows.count >= 4)
    for row in rows {
      let (columns, size) = (try #require(Int(row[0])), try #require(Int(row[1])))
      let found = row[2...].map { Double($0) }
      let factors = Pooling.allCases.map { $0.factor(groupSize: size, columnCount: columns) }
      #expect(found == factors, "\(columns) / \(size)")
    }
  }

  @Test("formats/adapters.md lists the factor of every widening")
  func widening() throws {
    let bits = Grouping.supportedBits
    let header = try #require(try Self.rows { $0 == "codes" }.first)
    for source in bits.dropLast() {
      let row = try #require(try Self.rows { $0 == "\(source) bits" }.first)
      for (target, cell) in zip(header, row).dropFirst() {
        let wide = try #require(Int(target.dropLast(" bits".count)))
        let expected = wide > source ? "\(GroupShift.factor(from: source, to: wide))" : "–"
        #expect(cell == expected, "\(source) to \(wide)")
      }
    }
  }

  @Test("formats/adapters.md lists every target of an export")
  func exports() throws {
    for target in AdapterExport.Target.allCases {
      let rows = try Self.rows { $0 == "`--to \(target.rawValue)`" }
      #expect(rows.count == 1, "\(target)")
    }
  }

  @Test("every config key that formats/adapters.md lists as refused is refused by name")
  func refusals() throws {
    let rows = try Self.rows { $0.hasPrefix("`") }.filter {
      $0.count == 2 && $0[1].hasPrefix("refused")
    }
    #expect(rows.count >= 10)
    for row in rows {
      // A key, or a key and a value. A star stands for any text.
      let words = row[0].replacing("`", with: "").replacing("*", with: "any").split(separator: " ")
      let key = String(words[0])
      let value: JSONValue = words.count > 1 ? .string(String(words[1])) : ["any": 1]
      let document = AdapterTable.config([.init(key, value)])
      let error = Laws.error { () throws(ModelError) in
        try AdapterTable.adapter(
          document, [("a.lora_A.weight", [2, 4]), ("a.lora_B.weight", [4, 2])])
      }
      #expect(error?.kind == .unsupported, "\(row[0])")
      #expect(error?.found?.contains(key) == true, "\(row[0])")
    }
  }
}
