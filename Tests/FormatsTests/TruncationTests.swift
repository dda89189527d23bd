import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Files that are truncated at every byte.
@Suite struct TruncationTests {
  /// The golden models that are single files, all of them small.
  static let files = ["safetensors", "gguf"].flatMap { format in
    Fixtures.names(in: "golden/\(format)", suffix: "." + format).map {
      "golden/\(format)/\($0).\(format)"
    }
  }

  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test("the golden files are found") func presence() {
    for format in ["safetensors", "gguf"] {
      #expect(Self.files.count { $0.hasSuffix("." + format) } >= 10, "\(format)")
    }
  }

  @Test("a file truncated at any byte gives an error or the same catalog", arguments: files)
  func goldenFiles(name: String) throws {
    try check(
      try Fixtures.bytes(name), as: "truncated." + Files.suffix(of: name), mayLosePadding: true)
  }

  @Test("a pleat file truncated at any byte is refused", arguments: [false, true])
  func pleatFiles(compresses: Bool) throws {
    let source = try SmallModel.safetensors(in: scratch)
    let path = try Rewriting.quantize(
      source, to: scratch.path("whole.pleat"), compresses: compresses)
    try check(try Files.bytes(of: path), as: "truncated.pleat", mayLosePadding: false)
  }

  @Test("a split set whose second file is truncated gives an error or the same catalog")
  func splitSets() throws {
    let names = try Files.names(in: Fixtures.path("golden/gguf/split"))
    for name in names { try scratch.write(Fixtures.bytes("golden/gguf/split/\(name)"), as: name) }
    let whole = try Model.open(scratch.path(names[0])).catalog
    let file = try DamagedFile(try scratch.bytes(of: names[1]), as: names[1], in: scratch)
    try file.forEachTruncation { length in
      try expectErrorOrSame(scratch.path(names[0]), whole, mayLosePadding: true, "\(length) bytes")
    }
  }

  private func check(_ bytes: [UInt8], as name: String, mayLosePadding: Bool) throws {
    let file = try DamagedFile(bytes, as: name, in: scratch)
    let whole = try Model.open(file.path).catalog
    try file.forEachTruncation { length in
      try expectErrorOrSame(file.path, whole, mayLosePadding: mayLosePadding, "\(length) bytes")
    }
  }

  private func expectErrorOrSame(
    _ path: String, _ whole: Catalog, mayLosePadding: Bool, _ length: String
  ) throws {
    do throws(ModelError) {
      let model = try Model.open(path)
      let isSame = mayLosePadding && Laws.areEqual(model.catalog, whole)
      #expect(isSame, "opened with \(length)")
      try model.readEverything()
    } catch {
      #expect([.malformed, .unsupported].contains(error.kind), "\(length): \(error)")
    }
  }
}
