import Formats
import TensorModel
import TestSupport
import Testing

/// The known metadata keys of llama.cpp, and texts in metadata arrays.
@Suite struct GGUFKeysTests {
  static let types: [(String, MetadataType?)] = [
    ("general.name", .string), ("general.dataset.12.url", .string), ("llama.block_count", .u32),
    ("llama.rope.freq_base", .f32), ("llama.attention.causal", .bool),
    ("general.sampling.top_k", .i32), ("tokenizer.chat_template.tool_use", .string),
    ("tokenizer.ggml.fim_pre_token_id", .u32), ("gemma.block_count", nil), ("block_count", nil),
    ("tokenizer.ggml.tokens", nil), ("", nil), ("llama", nil), ("general.dataset.x.url", nil),
  ]

  @Test("a known key has a type, under the model's own architecture only", arguments: types)
  func type(key: String, type: MetadataType?) {
    #expect(GGUFKeys.type(of: key, architecture: "llama") == type)
  }

  @Test("all known keys have a type, and none is the architecture's without one")
  func known() {
    let keys = GGUFKeys.known(architecture: "mamba")
    #expect(keys.contains("mamba.ssm.state_size") && keys.contains("general.name"))
    #expect(keys.allSatisfy { GGUFKeys.type(of: $0, architecture: "mamba") != nil })
    let general = GGUFKeys.known(architecture: nil)
    #expect(general == keys.filter { !$0.hasPrefix("mamba.") })
  }

  @Test("the texts of an array are found by their bytes") func texts() {
    let texts = ["", "e\u{301}", "a", "\u{e9}", "a"]
    let array = MetadataArray(
      elementType: .string, count: texts.count,
      bytes: texts.flatMap { Numbers.little(UInt64($0.utf8.count)) + Array($0.utf8) })
    #expect(array.texts == texts && array.text(at: 2) == "a" && array.text(at: 5) == nil)
    #expect(array.indices(of: "a") == [2, 4] && array.indices(of: "\u{e9}") == [3])
    #expect(array.indices(of: "") == [0] && array.indices(of: "b").isEmpty)
    let numbers = MetadataArray(elementType: .u8, count: 2, bytes: [1, 2])
    #expect(numbers.texts.isEmpty && numbers.indices(of: "a").isEmpty)
  }
}
