import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

@Suite struct BadFixtureTests {
  /// All cases in `fixtures/bad`, as `format/name`.
  static let cases = Formats.all.flatMap { format in
    Fixtures.names(in: "bad/\(format.name)", suffix: ".expect").map { "\(format.name)/\($0)" }
  }

  /// The path of a case: a folder, a split set through its first file, or one file.
  private static func path(_ name: String) throws -> String {
    let folder = "bad/" + name
    guard Fixtures.isFolder(folder) else {
      return Fixtures.path("\(folder).\(name.prefix { $0 != "/" })")
    }
    let files = try Files.names(in: Fixtures.path(folder))
    let first = files.first { $0.contains("-00001-of-") && $0.hasSuffix(".gguf") }
    return Fixtures.path(folder) + (first.map { "/" + $0 } ?? "")
  }

  @Test("the bad fixtures are found") func presence() { #expect(Self.cases.count >= 280) }

  @Test(
    "a bad file is refused with the expected kind and fragments of the error",
    arguments: cases)
  func refusal(name: String) throws {
    let text = String(decoding: try Fixtures.bytes("bad/\(name).expect"), as: UTF8.self)
    let lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init)
    let path = try Self.path(name)
    let found = Laws.error { () throws(ModelError) in
      // Verification finds damage inside a part.
      if let fault = try Verification(of: try Model.open(path)).faults.first { throw fault }
    }
    guard let error = found else {
      Issue.record("\(name) was opened")
      return
    }
    #expect(error.kind.rawValue == lines[0], "\(error)")
    for fragment in lines.dropFirst() {
      #expect(error.description.contains(fragment), "'\(fragment)' is not in: \(error)")
    }
  }
}
