import Architectures
import Formats
import TestSupport
import Testing

/// Compares the tables of the documents with the registries.
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

  @Test("formats/README.md lists the bits and group sizes of every format")
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

  @Test("README.md links every format with its bits and group sizes")
  func readme() throws {
    for format in Formats.all {
      // The versions of a format share a document.
      let document = format.name.hasSuffix("-v1") ? String(format.name.dropLast(3)) : format.name
      let rows = try Self.rows(
        of: "[\(format.name)](formats/\(document).md)", in: "README.md")
      let row = try #require(rows.first, "\(format.name)")
      guard !format.bits.isEmpty else { continue }
      #expect(row[3].hasPrefix(Self.list(format.bits)))
      #expect(row[4].hasPrefix(Self.list(format.groupSizes)))
    }
  }

  @Test("formats/recipe.md lists what each format offers for quantizing")
  func recipes() throws {
    let path = "formats/recipe.md"
    let head = try #require(try Self.rows(of: "", in: path).first { $0.contains("`--to pleat`") })
    func cell(_ row: String, _ format: Format) throws -> String {
      let column = try #require(head.firstIndex(of: "`--to \(format.name)`"), "\(format.name)")
      let row = try #require(try Self.rows(of: row, in: path).first)
      return row.indices.contains(column) ? row[column] : ""
    }
    for format in Formats.all where !format.bits.isEmpty {
      #expect(try cell("bits offered", format) == Self.list(format.bits))
      let groups = try cell("groups offered", format)
      let sizes = groups.split { !$0.isNumber }.compactMap { Int($0) }
      #expect(sizes.sorted() == format.groupSizes.sorted(), "\(format.name)")
      #expect(groups.contains("**\(format.groupSizes[0])**"), "\(format.name)")
      #expect(groups.contains("`row`") == format.allowsRowGroups, "\(format.name)")
      for (row, treatment) in [("embeddings", format.embeddings), ("head", format.head)] {
        let words: String
        switch treatment {
        case .keep: words = "kept"
        case .quantize: words = "quantized like linear weights"
        case .eightBits: words = "8 bits"
        }
        #expect(try cell(row, format) == words, "\(format.name)")
      }
    }
  }

  @Test("formats/README.md links every document, and no document has a broken link")
  func links() throws {
    let folder = Fixtures.repository + "/formats/"
    let names = try Files.names(in: folder).filter { $0.hasSuffix(".md") }
    let index = String(decoding: try Files.bytes(of: folder + "README.md"), as: UTF8.self)
    for name in names where name != "README.md" {
      #expect(index.contains("| [\(name)](\(name)) |"), "\(name)")
    }
    let documents = names.map { "formats/" + $0 } + ["README.md", "CONTRIBUTING.md", "TESTING.md"]
    for document in documents {
      let text = String(
        decoding: try Files.bytes(of: Fixtures.repository + "/" + document), as: UTF8.self)
      let base = document.hasPrefix("formats/") ? "formats/" : ""
      for link in text.matches(of: /\]\(([^)#:]+)[^):]*\)/).map({ String($0.output.1) }) {
        #expect(SourceTree.exists(base + link), "\(document): \(link)")
      }
    }
  }

  @Test("formats/gguf.md lists the model types, which come back, and which mlx-lm has")
  func modelTypes() throws {
    for architecture in Architectures.withVariants where !architecture.isTextAlone {
      let types = architecture.modelTypes.map { "`\($0)`" }.joined(separator: ", ")
      let rows = try Self.rows(of: types, in: "formats/gguf.md")
      let row = try #require(rows.first { $0[1] == architecture.ggufName }, "\(types)")
      // Experts come back as matrices of their own, or as the stacks that they are.
      let stacks = architecture.optionalNames.flatMap(\.completeNames)
      let hasPlaces =
        architecture.experts == nil || !architecture.expertNames.isEmpty || architecture.hasReturns
        || stacks.contains { $0.gguf == ["ffn_down_exps.weight"] }
      let comesBack = hasPlaces && architecture.comesBack
      let text = Architectures.variants.first {
        $0.isTextAlone && $0.ggufName == architecture.ggufName
      }
      if let text {
        #expect(row[2] == "as \(text.modelTypes[0])", "\(types)")
      } else {
        #expect((row[2] != "no") == (architecture.className != nil && comesBack), "\(types)")
      }
      let known = architecture.modelTypes.filter(MLXModelTypes.contains)
      let all =
        known == architecture.modelTypes ? "yes" : known.map { "`\($0)`" }.joined(separator: ", ")
      #expect(row[3] == (known.isEmpty ? "no" : all), "\(types)")
    }
  }

  @Test("the documents state the number of model types", arguments: ["README.md", "CHANGELOG.md"])
  func modelTypeCount(document: String) throws {
    let bytes = try Files.bytes(of: Fixtures.repository + "/" + document)
    let words = String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }
    let count = Architectures.all.flatMap(\.modelTypes).count
    #expect(words.joined(separator: " ").contains(" \(count) model types"), "\(count)")
  }

  @Test("formats/adapters.md lists every architecture with its row order")
  func architectures() throws {
    for architecture in Architectures.withVariants where !architecture.isTextAlone {
      let name = "`\(architecture.ggufName)`"
      let types = architecture.modelTypes.map { "`\($0)`" }.joined(separator: ", ")
      let rows = try Self.rows(of: name, in: "formats/adapters.md").filter { $0[1] == types }
      let row = try #require(rows.first, "\(types)")
      #expect(row[2].hasPrefix("interleaved") == architecture.interleavesRotaryRows)
    }
  }
}
