import Bytes
import Formats
import Kernels
import TensorModel
import TestSupport
import Testing

/// The choices of mixes for random models, compared with those of llama.cpp.
@Suite struct MixGoldenTests {
  /// A model of the fixture and what llama.cpp chose for it.
  struct Model {
    let metadata: Metadata
    let tensors: [TensorInfo]
    let order: [Int]
    let choices: [JSONValue]

    init(_ document: JSONValue) {
      metadata = MixFixture.metadata(document["metadata"]?.members ?? [])
      tensors = (document["tensors"]?.array ?? []).flatMap { MixFixture.tensors($0.array ?? []) }
      order = (document["order"]?.string ?? "").split(separator: " ").compactMap { Int($0) }
      choices = document["choices"]?.array ?? []
    }
  }

  static let models = (try? MixFixture.models()) ?? []

  @Test("the golden models are found") func presence() {
    let models = Self.models
    #expect(models.count > 30 && models.allSatisfy { $0.order.count == $0.tensors.count })
    let names = models.flatMap(\.choices).compactMap { $0["mix"]?.string }
    #expect(Set(names) == Set(Mix.all.map(\.name)))
  }

  @Test("tensors have the order of llama-quantize") func order() {
    for model in Self.models {
      #expect(GGUFTensorOrder.indices(of: model.tensors.map(\.name)) == model.order)
    }
  }

  @Test("every tensor has the type that llama.cpp chooses", arguments: models.indices)
  func types(index: Int) throws {
    let (letters, model) = (try MixFixture.letters(), Self.models[index])
    let facts = try MixModel(model.metadata)
    for golden in model.choices {
      let chosen = try MixFixture.chooser(golden, facts, model.tensors)
        .choices(for: model.tensors) { MixFixture.override(golden, $0) }
      let types = model.order.map { index in
        let encoding = chosen[index].encoding
        return encoding == model.tensors[index].encoding ? "" : encoding?.description ?? ""
      }
      let expected = (golden["types"]?.string ?? "").map { letters[$0] ?? "?" }
      let name = golden["mix"]?.string ?? ""
      #expect(types == expected, "\(name) of \(facts.architecture), \(facts.layerCount) layers")
      #expect(chosen.allSatisfy { !$0.reason.isEmpty })
    }
  }

  @Test("the metadata has the entries and the order of llama-quantize") func metadata() throws {
    let golden = try MixFixture.document()["metadata"] ?? .null
    let before = MixFixture.metadata(MixFixture.members(golden["before"]))
    let matrix = MatrixRecord(
      file: "m.gguf", dataset: String(repeating: "d", count: 200), entryCount: 5, chunkCount: 7)
    let after = GGUFFileType.updated(before, for: try Mix.named("Q4_K_M"), matrix: matrix)
    #expect(Laws.areEqual(after, MixFixture.metadata(MixFixture.members(golden["after"]))))
  }
}

/// Reads the fixture of mixes.
private enum MixFixture {
  static func document() throws -> JSONValue {
    let path = "golden/mixes/choices.json"
    return try JSONParser.parse(try Fixtures.bytes(path), file: path)
  }

  static func models() throws -> [MixGoldenTests.Model] {
    (try document()["models"]?.array ?? []).map(MixGoldenTests.Model.init)
  }

  /// The type that each letter stands for; an empty text if the tensor keeps its own.
  static func letters() throws -> [Character: String] {
    let members = try document()["letters"]?.members ?? []
    return Dictionary(
      uniqueKeysWithValues: members.map { (Character($0.key), $0.value.string ?? "?") })
  }

  /// The members of an object that is written as a list of pairs.
  static func members(_ pairs: JSONValue?) -> [JSONValue.Member] {
    (pairs?.array ?? []).compactMap { pair in
      guard let pair = pair.array, let key = pair.first?.string else { return nil }
      return JSONValue.Member(key, pair[1])
    }
  }

  /// Metadata of texts, 32-bit numbers and lists of them.
  static func metadata(_ members: [JSONValue.Member]) -> Metadata {
    var metadata = Metadata()
    for member in members {
      if let text = member.value.string {
        metadata.append(member.key, .text(text))
      } else if let list = member.value.array {
        let bytes = list.flatMap { Numbers.little(UInt32($0.int ?? 0)) }
        metadata.append(
          member.key, .array(MetadataArray(elementType: .u32, count: list.count, bytes: bytes)))
      } else {
        metadata.append(member.key, .u32(UInt32(member.value.int ?? 0)))
      }
    }
    return metadata
  }

  /// The tensors of an entry: one, or one in each of some layers.
  static func tensors(_ entry: [JSONValue]) -> [TensorInfo] {
    let name = entry.first?.string ?? ""
    let dimensions = (entry[1].array ?? []).map { $0.int ?? 0 }
    let shape = Shape(validating: dimensions) ?? Shape()
    let layers = entry.count > 2 ? Array((entry[2].int ?? 0)..<(entry[3].int ?? 0)) : [0]
    return layers.map { layer in
      let parts = name.split(separator: "*", omittingEmptySubsequences: false)
      return TensorInfo(
        name: parts.joined(separator: "\(layer)"), shape: shape, encoding: .plain(.f32))
    }
  }

  static func chooser(
    _ golden: JSONValue, _ facts: MixModel, _ tensors: [TensorInfo]
  ) throws -> MixChooser {
    var options = MixOptions()
    options.isPure = golden["pure"]?.bool ?? false
    options.head = golden["head"]?.string.flatMap(encoding)
    options.embeddings = golden["embeddings"]?.string.flatMap(encoding)
    let hasMatrix = golden["matrix"]?.bool ?? false
    return MixChooser(
      try Mix.named(golden["mix"]?.string ?? ""), for: facts, options,
      matrixEntries: hasMatrix ? Set(tensors.map { ExactName($0.name) }) : [])
  }

  /// What the first matching rule of a golden choice says; rules match parts of names.
  static func override(_ golden: JSONValue, _ tensor: TensorInfo) -> MixOverride? {
    if golden["keepsHead"]?.bool == true, tensor.name == "output.weight" {
      return MixOverride(nil, "kept")
    }
    for rule in golden["rules"]?.array ?? [] {
      guard let rule = rule.array, let part = rule.first?.string, tensor.name.contains(part)
      else { continue }
      return MixOverride(rule.last?.string.flatMap(encoding), "a rule")
    }
    return nil
  }

  /// The encoding with a name of GGML.
  private static func encoding(_ name: String) -> Encoding? {
    if let type = ScalarType(rawValue: name) { return .plain(type) }
    return Mix.all.first { $0.base.name == name }?.base.encoding
  }
}
