import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

/// WordPiece and unigram tokenizers of GGUF files, as files of Hugging Face.
@Suite struct EncoderTokenizerReturnTests {
  private static func token(_ text: String) -> JSONValue { ["SpecialToken": ["id": .string(text)]] }

  private static let pair: JSONValue = [
    "post_processor": [
      "type": "TemplateProcessing",
      "single": [token("[CLS]"), ["Sequence": ["id": "A"]], token("[SEP]")],
      "pair": [
        token("[CLS]"), ["Sequence": ["id": "A"]], token("[SEP]"), ["Sequence": ["id": "B"]],
        token("[SEP]"),
      ],
    ]
  ]

  private static let wordPiece = EncoderTokenizerTests.wordPiece(changes: pair)

  private static func metadata(of tokenizer: SmallTokenizer) throws(ModelError) -> Metadata {
    var metadata = try tokenizer().metadata
    metadata.append("general.architecture", .text("bert"))
    metadata.append("bert.context_length", .u32(64))
    return metadata
  }

  private static func document(_ name: String, _ documents: TokenizerDocuments) throws -> JSONValue
  {
    let file = try #require(documents.files.first { $0.name == name })
    return try JSONParser.parse(file.content, file: name)
  }

  @Test(
    "a tokenizer that comes back gives the same metadata",
    arguments: [wordPiece, EncoderTokenizerTests.unigram(EncoderTokenizerTests.table)])
  func law(tokenizer: SmallTokenizer) throws {
    let first = try Self.metadata(of: tokenizer)
    var copy = SmallTokenizer()
    copy.architecture = tokenizer.architecture
    for file in try TokenizerDocuments(first).files { copy = copy.with(file.name, file.content) }
    func entries(_ metadata: Metadata) -> [String: MetadataValue] {
      Dictionary(metadata.entries.map { ($0.key, $0.value) }) { $1 }
    }
    let (found, expected) = (entries(try Self.metadata(of: copy)), entries(first))
    // Ids that llama.cpp assumes are stated then.
    let assumed: [String: MetadataValue] = [
      "tokenizer.ggml.padding_token_id": .u32(0), "tokenizer.ggml.eos_token_id": .u32(1),
    ]
    let keys = Set(found.keys).union(expected.keys)
    #expect(keys.filter { found[$0] != (expected[$0] ?? assumed[$0]) }.sorted() == [])
  }

  @Test("the parts of words get their mark again") func marks() throws {
    let documents = try TokenizerDocuments(Self.metadata(of: Self.wordPiece))
    let model = try Self.document("tokenizer.json", documents)["model"]
    let keys = (model?["vocab"]?.members ?? []).map(\.key)
    #expect(keys == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "##b"])
    let settings = try Self.document("tokenizer_config.json", documents)
    #expect(settings["do_lower_case"] == true && settings["model_max_length"] == 64)
    #expect(settings["cls_token"] == "[CLS]" && settings["bos_token"] == nil)
    // One type of tokens is none that a text could have.
    #expect(settings["model_input_names"] == ["input_ids", "attention_mask"])
  }

  @Test("two tokens that become one are malformed") func twice() throws {
    // `▁##b` and `b` are one word and one part in llama.cpp.
    var metadata = try Self.metadata(of: Self.wordPiece)
    guard case .array(let list)? = metadata["tokenizer.ggml.tokens"] else { return }
    var bytes: [UInt8] = []
    for (id, text) in list.texts.enumerated() {
      let text = id == 4 ? "▁##b" : text
      bytes.append(littleEndian: UInt64(text.utf8.count))
      bytes += text.utf8
    }
    metadata["tokenizer.ggml.tokens"] = .array(
      MetadataArray(elementType: .string, count: list.count, bytes: bytes))
    let error = Laws.error { () throws(ModelError) in try TokenizerDocuments(metadata) }
    #expect(error?.kind == .malformed && error?.found == "'##b', ids 4 and 5")
  }

  @Test(
    "what tokenizer.json cannot state is refused with its key",
    arguments: [
      ("add_space_prefix", MetadataValue.bool(false), ModelError.Kind.unsupported),
      ("add_space_prefix", .u32(1), .malformed), ("precompiled_charsmap", .u32(1), .malformed),
      ("unknown_token_id", .u32(300), .malformed),
    ])
  func refusals(key: String, value: MetadataValue, kind: ModelError.Kind) throws {
    let tokenizer = EncoderTokenizerTests.unigram(EncoderTokenizerTests.table)
    var metadata = try Self.metadata(of: tokenizer)
    metadata["tokenizer.ggml." + key] = value
    let error = Laws.error { () throws(ModelError) in try TokenizerDocuments(metadata) }
    #expect(error?.kind == kind && error?.tensor == "tokenizer.ggml." + key)
  }
}
