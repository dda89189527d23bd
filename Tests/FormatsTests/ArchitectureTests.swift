import Formats
import TensorModel
import TestSupport
import Testing

@Suite struct ArchitectureTests {
  /// A line of golden/names/gguf_names.tsv: names in a checkpoint of transformers, and what gguf
  /// makes of them; nil where a side has no such tensor.
  struct Row {
    let architecture: Architecture
    let modelType: String
    let huggingFace: String?
    let gguf: String?

    init(_ line: Substring) throws {
      let cells = line.split(separator: "\t").map(String.init)
      try #require(cells.count == 3)
      modelType = cells[0]
      architecture = try #require(Architectures.forModelType(modelType))
      huggingFace = cells[1] == "-" ? nil : cells[1]
      gguf = cells[2] == "-" ? nil : cells[2]
    }

    /// The name in a checkpoint of the text model alone.
    var plainName: String? {
      let prefix = "language_model."
      return huggingFace.map { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : $0 }
    }
  }

  private func golden() throws -> [Row] {
    let text = String(decoding: try Fixtures.bytes("golden/names/gguf_names.tsv"), as: UTF8.self)
    return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(Row.init)
  }

  /// Every name that the tables have, on both sides, in layer `layer`.
  private func names(
    of architecture: Architecture, layer: String, ending: String
  ) -> [(huggingFace: String, gguf: String)] {
    let outside = architecture.modelNames.map {
      ("\($0.huggingFace).\(ending)", "\($0.gguf).\(ending)")
    }
    let inside = architecture.layerNames.map {
      ("model.layers.\(layer).\($0.huggingFace).\(ending)", "blk.\(layer).\($0.gguf).\(ending)")
    }
    return outside + inside
  }

  @Test("a name of transformers becomes the name of gguf") func toGGUF() throws {
    for row in try golden() {
      guard let name = row.huggingFace else { continue }
      #expect(row.architecture.ggufName(of: name) == row.gguf, "\(row.modelType): \(name)")
    }
  }

  @Test("a name of gguf becomes the name of transformers") func toHuggingFace() throws {
    for row in try golden() {
      guard let name = row.gguf else { continue }
      let found = row.architecture.huggingFaceName(of: name)
      #expect(found == row.plainName, "\(row.modelType): \(name)")
    }
  }

  @Test("the tables have exactly the tensors that both sides know") func completeness() throws {
    let golden = try golden()
    for architecture in Architectures.all {
      for type in architecture.modelTypes {
        let rows = golden.filter { $0.modelType == type && $0.gguf != nil }
        let expected = rows.compactMap(\.plainName).filter { $0.hasSuffix(".weight") }
        let found = names(of: architecture, layer: "11", ending: "weight").map(\.huggingFace)
        #expect(found.sorted() == expected.sorted(), "\(type)")
      }
    }
  }

  @Test(
    "a name and its translation translate into each other, in every layer",
    arguments: ["0", "7", "10", "126", "18446744073709551616"], ["weight", "bias"])
  func inverse(layer: String, ending: String) {
    for architecture in Architectures.all {
      let pairs = names(of: architecture, layer: layer, ending: ending)
      for pair in pairs {
        #expect(architecture.ggufName(of: pair.huggingFace) == pair.gguf)
        #expect(architecture.huggingFaceName(of: pair.gguf) == pair.huggingFace)
      }
      #expect(Set(pairs.map(\.huggingFace)).count == pairs.count)
      #expect(Set(pairs.map(\.gguf)).count == pairs.count)
    }
  }

  @Test(
    "a name in no table has no translation",
    arguments: [
      "", ".", "weight", ".weight", "attn_q.weight", "blk", "blk.", "blk.weight", "blk.3.weight",
      "blk.3..weight", "blk..attn_q.weight", "blk.-1.attn_q.weight", "blk.+1.attn_q.weight",
      "blk.03.attn_q.weight", "blk.٣.attn_q.weight", "blk.1\u{301}.attn_q.weight",
      "blk.3.attn_q", "blk.3.attn_q.scale", "blk.3.attn_q.weight.weight", "BLK.3.attn_q.weight",
      "blk.3.attn_q.weight\u{301}", "blk.3.attn_q\u{301}.weight", "blk.3.token_embd.weight",
      "blk.3.rope_freqs.weight", "rope_freqs.weight", "model.layers.weight",
      "model.layers.3.weight", "model.layers..self_attn.q_proj.weight",
      "model.layers.03.self_attn.q_proj.weight", "model.layers.3.self_attn.q_proj",
      "model.layers.3.self_attn.q_proj.weight.", "model.layers.3.self_attn.q_proj.lora_A.weight",
      "model.layers.3.lm_head.weight", "model.layers.3.self_attn.rotary_emb.inv_freq",
      "self_attn.q_proj.weight", "layers.3.self_attn.q_proj.weight", "embed_tokens.weight",
      "language_model.language_model.model.norm.weight",
    ])
  func strangers(name: String) {
    for architecture in Architectures.all {
      #expect(architecture.ggufName(of: name) == nil)
      #expect(architecture.huggingFaceName(of: name) == nil)
    }
  }

  @Test("only gemma3 takes names of a model within another") func prefix() {
    for architecture in Architectures.all {
      for name in ["language_model.model.norm.weight", "model.language_model.norm.weight"] {
        let expected = architecture.ggufName == "gemma3" ? "output_norm.weight" : nil
        #expect(architecture.ggufName(of: name) == expected)
      }
    }
  }

  @Test("rows of queries and keys are interleaved, of llama and its kin alone")
  func rowOrder() throws {
    for row in try golden() {
      guard let name = row.huggingFace else { continue }
      let order = try row.architecture.rowOrder(
        ofHuggingFaceName: name, headCount: 6, keyValueHeadCount: 2, headSize: 8)
      let isLlama = ["llama", "mistral", "mixtral"].contains(row.modelType)
      let heads: Int? =
        if name.contains(".q_proj.") { 6 } else if name.contains(".k_proj.") { 2 } else { nil }
      let expected = isLlama ? heads.flatMap { RotaryRowOrder(headCount: $0, headSize: 8) } : nil
      #expect(order == expected, "\(row.modelType): \(name)")
    }
  }

  @Test("norms are stored plus one, of gemma and its kin alone") func norms() {
    for architecture in Architectures.all {
      let isGemma = architecture.modelTypes.allSatisfy { $0.hasPrefix("gemma") }
      #expect(architecture.addsOneToNorms == isGemma, "\(architecture.modelTypes)")
      // What holds a norm is told by its name in a checkpoint.
      for pair in names(of: architecture, layer: "3", ending: "weight") {
        #expect(pair.huggingFace.contains("norm") == pair.gguf.contains("norm"), "\(pair)")
      }
    }
    #expect(Architectures.all.count { $0.addsOneToNorms } == 3)
  }

  @Test("heads that cannot be halved are malformed, where rows have to be moved")
  func impossibleHeads() throws {
    let llama = try #require(Architectures.named("llama"))
    let qwen = try #require(Architectures.named("qwen2"))
    func order(_ architecture: Architecture, _ module: String) throws(ModelError) -> RotaryRowOrder?
    {
      try architecture.rowOrder(
        ofHuggingFaceName: "model.layers.0.self_attn.\(module).weight", headCount: 4,
        keyValueHeadCount: 0, headSize: 63)
    }
    for module in ["q_proj", "k_proj"] {
      let error = Laws.error { () throws(ModelError) in try order(llama, module) }
      #expect(error?.kind == .malformed)
      #expect(error?.tensor == "model.layers.0.self_attn.\(module).weight")
      #expect(error?.found == "\(module == "q_proj" ? 4 : 0) heads of 63 rows")
      #expect(try order(qwen, module) == nil)
    }
    #expect(try order(llama, "v_proj") == nil)
  }

  @Test(
    "a name of GGUF means the most general architecture",
    arguments: [
      ("llama", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gemma", "gemma"),
      ("gemma2", "gemma2"), ("gemma3", "gemma3_text"), ("phi3", "phi3"),
    ])
  func lookup(name: String, modelType: String) throws {
    #expect(try #require(Architectures.named(name)).modelTypes.first == modelType)
  }

  @Test("what nobody registered is nil") func unknown() {
    for name in ["", "Llama", "mamba", "gemma3n", "qwen2moe"] {
      #expect(Architectures.named(name) == nil)
      #expect(Architectures.forModelType(name) == nil)
    }
    for name in ["mistral", "mixtral", "gemma3_text"] { #expect(Architectures.named(name) == nil) }
  }

  @Test("every file of an architecture is registered, and no model type twice")
  func registry() throws {
    let folder = Fixtures.repository + "/Sources/Formats/GGUF/Architectures"
    let shared: Set<String> = ["Architecture.swift", "Architectures.swift", "CommonNames.swift"]
    let files = try Files.names(in: folder).filter { !shared.contains($0) }
    #expect(files.count == Architectures.all.count)
    for file in files {
      let type = String(file.dropLast(".swift".count)).lowercased()
      #expect(Architectures.forModelType(type) != nil, "\(file)")
    }
    let types = Architectures.all.flatMap(\.modelTypes)
    #expect(Set(types).count == types.count)
  }
}
