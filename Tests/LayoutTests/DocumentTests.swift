import Formats
import TestSupport
import Testing

/// The tables of the documents, against the registry that they describe.
@Suite struct DocumentTests {
  private static func rows(of name: String, in document: String) throws -> [[String]] {
    let text = String(
      decoding: try Files.bytes(of: Fixtures.repository + "/" + document), as: UTF8.self)
    return text.split(separator: "\n").filter { $0.hasPrefix("|") }.map { line in
      line.split(separator: "|").map { $0.drop { $0 == " " } }.map { cell in
        String(cell.reversed().drop { $0 == " " }.reversed())
      }
    }.filter { $0.first == name }
  }

  private static func list(_ numbers: [Int]) -> String {
    numbers.sorted().map(String.init).joined(separator: ", ")
  }

  @Test("formats/README.md has the bits and groups of every format")
  func index() throws {
    for format in Formats.all {
      let rows = try Self.rows(of: "`\(format.name)`", in: "formats/README.md")
      let row = try #require(rows.first, "\(format.name)")
      if format.bits.isEmpty {
        #expect(row[3].contains("plain numbers") && row[4] == "–")
      } else {
        #expect(row[3] == Self.list(format.bits))
        #expect(
          row[4] == Self.list(format.groupSizes) + (format.allowsRowGroups ? ", a row" : ""))
      }
    }
  }

  @Test("README.md links every format, with its bits and groups")
  func readme() throws {
    for format in Formats.all {
      let rows = try Self.rows(
        of: "[\(format.name)](formats/\(format.name).md)", in: "README.md")
      let row = try #require(rows.first, "\(format.name)")
      guard !format.bits.isEmpty else { continue }
      #expect(row[3].hasPrefix(Self.list(format.bits)))
      #expect(row[4].hasPrefix(Self.list(format.groupSizes)))
    }
  }
}
