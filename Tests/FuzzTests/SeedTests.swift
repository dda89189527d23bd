import FuzzSupport
import TestSupport
import Testing

/// No reader may break a law with the seeds of the fuzzer, which include its earlier findings.
@Suite struct SeedTests {
  @Test("no seed makes its reader break a law", arguments: FuzzReader.allCases)
  func seeds(reader: FuzzReader) throws {
    let folder = "seeds/\(reader.rawValue)"
    let names = Fixtures.names(in: folder, suffix: "")
    #expect(!names.isEmpty, "\(reader) has no seeds")
    let target = try FuzzTarget(reader)
    for name in names {
      let bytes = try Fixtures.bytes("\(folder)/\(name)")
      let law = try target.brokenLaw(with: bytes)
      #expect(law == nil, "\(folder)/\(name)")
    }
  }

  @Test("no golden or broken file makes its reader break a law", arguments: ["golden", "bad"])
  func fixtures(folder: String) throws {
    for (reader, suffix) in [(FuzzReader.safetensors, "safetensors"), (.gguf, "gguf")] {
      let folder = "\(folder)/\(suffix)"
      let target = try FuzzTarget(reader)
      for name in Fixtures.names(in: folder, suffix: "." + suffix) {
        let bytes = try Fixtures.bytes("\(folder)/\(name).\(suffix)")
        let law = try target.brokenLaw(with: bytes)
        #expect(law == nil, "\(folder)/\(name)")
      }
    }
  }

  @Test("every folder of seeds belongs to a reader, and every reader has one") func folders() {
    #expect(
      Set(Fixtures.names(in: "seeds", suffix: "")) == Set(FuzzReader.allCases.map(\.rawValue)))
  }
}
