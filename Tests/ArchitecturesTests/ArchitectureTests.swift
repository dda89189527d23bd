import Architectures
import Bytes
import Formats
import TensorModel
import TestSupport
import Testing

@Suite struct ArchitectureTests {
  /// A line of golden/names/gguf_names.tsv.
  ///
  /// It has the names of a tensor in transformers and in gguf; nil if one has no such tensor.
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

    /// The Hugging Face name in a checkpoint of the text model alone.
    var plainName: String? { huggingFace.map { architecture.plainName($0) } }
  }

  private static let interleaved: Set<String> = [
    "llama", "mistral", "mixtral", "smollm3", "granite", "granitemoe", "arcee", "ministral3",
    "olmo", "internlm3", "granitemoeshared", "granitemoehybrid",
  ]

  private func golden() throws -> [Row] {
    let text = String(decoding: try Fixtures.bytes("golden/names/gguf_names.tsv"), as: UTF8.self)
    return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(Row.init)
  }

  /// The pairs of names in the tables of an architecture, in layer `layer`.
  private func names(
    of architecture: Architecture, layer: String, ending: String
  ) -> [(huggingFace: String, gguf: String)] {
    let models =
      architecture.modelNames + architecture.optionalNames.flatMap(\.modelNames)
    let outside = models.map {
      ("\($0.huggingFace).\(ending)", "\($0.gguf).\(ending)")
    }
    let stems =
      architecture.layerNames + architecture.laterNames
      + architecture.optionalNames.flatMap(\.names)
    let path = "\(architecture.layerPath)\(layer)"
    let inside = stems.map {
      ("\(path).\($0.huggingFace).\(ending)", "blk.\(layer).\($0.gguf).\(ending)")
    }
    return outside + inside
  }

  @Test("a transformers name maps to its gguf name") func toGGUF() throws {
    for row in try golden() {
      guard let name = row.huggingFace else { continue }
      #expect(row.architecture.ggufName(of: name) == row.gguf, "\(row.modelType): \(name)")
    }
  }

  @Test("a gguf name maps to its transformers name") func toHuggingFace() throws {
    for row in try golden() {
      guard let name = row.gguf else { continue }
      let found = row.architecture.huggingFaceName(of: name)
      // The tensors of first layers, and of those after the last one, are not in the layer of the
      // table.
      let others = row.architecture.leadingNames + row.architecture.predictionNames
      if row.huggingFace == nil, others.contains(where: { name.hasSuffix(".\($0.gguf).weight") }) {
        continue
      }
      #expect(found == row.plainName, "\(row.modelType): \(name)")
    }
  }

  @Test("the tables have exactly the tensors that transformers and gguf share")
  func completeness() throws {
    let golden = try golden()
    // `ArrangementTests` and the interop tests cover tensors that are arranged in another way.
    for architecture in Architectures.all where architecture.arrangements.isEmpty {
      // A text model has the names of the larger model that it is a part of.
      let types = architecture.modelTypes.filter { $0 == "gemma3_text" || !$0.hasSuffix("_text") }
      for type in types {
        let rows = golden.filter { $0.modelType == type && $0.gguf != nil }
        let expected = rows.compactMap(\.plainName).filter { $0.hasSuffix(".weight") }
        let path = architecture.layerPath + "11."
        let complete = architecture.completeNames.filter { $0.gguf.count == 1 }
          .map { path + $0.huggingFace }.filter { $0.hasSuffix(".weight") }
        let found =
          names(of: architecture, layer: "11", ending: "weight").map(\.huggingFace) + complete
        #expect(found.sorted() == expected.sorted(), "\(type)")
      }
    }
  }

  @Test(
    "the mapping of names is invertible in every layer",
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
    "a name that is in no table is not mapped",
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
      "self_attn.q_proj.weight", "vision_tower.layers.3.self_attn.q_proj.weight",
      "decoder.embed_tokens.weight", "models.norm.weight", "model..norm.weight",
      "model.encoder.layers.3.self_attn.q_proj.weight", "norm.norm.weight",
    ])
  func unknownNames(name: String) {
    for architecture in Architectures.all {
      #expect(architecture.ggufName(of: name) == nil)
      #expect(architecture.huggingFaceName(of: name) == nil)
    }
  }

  @Test(
    "a name is the same whatever a larger model puts before it",
    arguments: [
      "", "model.", "language_model.model.", "model.language_model.", "model.text_model.", "llm.",
      "thinker.model.", "model.language_model.model.",
    ])
  func prefix(prefix: String) {
    for architecture in Architectures.decoders {
      let table = architecture.modelNames[0].huggingFace.dropFirst("model.".count) + ".weight"
      #expect(architecture.ggufName(of: prefix + table) == "token_embd.weight")
      let first = architecture.layerNames[0]
      #expect(
        architecture.ggufName(of: prefix + "layers.7.\(first.huggingFace).weight")
          == "blk.7.\(first.gguf).weight")
      #expect(architecture.plainName(prefix + table) == "model." + table)
      #expect(architecture.plainName(prefix + "lm_head.weight") == "lm_head.weight")
      #expect(architecture.prefix(ofHuggingFaceName: prefix + table) == prefix)
      #expect(architecture.prefix(ofHuggingFaceName: prefix + "lm_head.weight") == nil)
      #expect(architecture.prefix(ofHuggingFaceName: prefix + "other.weight") == nil)
    }
  }

  @Test("a config says which tensors a model lacks") func absences() throws {
    let falcon = try #require(Architectures.forModelType("falcon_h1"))
    for config: JSONValue in [[:], ["mamba_rms_norm": false], ["mamba_rms_norm": .null]] {
      #expect(falcon.absenceKey(of: "mamba.norm", config) == "mamba_rms_norm")
      #expect(falcon.absenceKey(of: "mamba.in_proj", config) == nil)
    }
    #expect(falcon.absenceKey(of: "mamba.norm", ["mamba_rms_norm": true]) == nil)
    let deepSeek = try #require(Architectures.forModelType("deepseek_v2"))
    let compressed: JSONValue = ["q_lora_rank": 8]
    #expect(deepSeek.absenceKey(of: "self_attn.q_proj", compressed) == "q_lora_rank")
    #expect(deepSeek.absenceKey(of: "self_attn.q_a_proj", compressed) == nil)
    #expect(deepSeek.absenceKey(of: "self_attn.q_proj", ["q_lora_rank": .null]) == nil)
  }

  @Test("only variants of llama interleave the rows of queries and keys")
  func rowOrder() throws {
    for row in try golden() {
      guard let name = row.huggingFace else { continue }
      let order = try row.architecture.rowOrder(
        ofHuggingFaceName: name, headCount: 6, keyValueHeadCount: 2, headSize: 8)
      let isLlama = Self.interleaved.contains(row.modelType)
      let heads: Int? =
        if name.contains(".q_proj.") { 6 } else if name.contains(".k_proj.") { 2 } else { nil }
      let expected = isLlama ? heads.flatMap { RotaryRowOrder(headCount: $0, headSize: 8) } : nil
      #expect(order == expected, "\(row.modelType): \(name)")
    }
  }

  @Test("only gemma, nemotron and the hybrid models of Qwen store norms plus one") func norms() {
    for architecture in Architectures.all {
      let adds = architecture.modelTypes.allSatisfy {
        ["gemma", "gemma2", "gemma3", "gemma3_text"].contains($0) || $0.hasPrefix("qwen3_5")
          || ["nemotron", "qwen3_next"].contains($0)
      }
      #expect(architecture.addsOneToNorms == adds, "\(architecture.modelTypes)")
      // The name of a norm contains "norm" in both, except for one of Nomic's.
      for pair in names(of: architecture, layer: "3", ending: "weight") {
        let isNorm = pair.huggingFace.lowercased().contains("norm")
        #expect(
          (isNorm || pair.huggingFace == "emb_ln.weight") == pair.gguf.contains("norm"), "\(pair)")
      }
    }
    #expect(Architectures.all.count { $0.addsOneToNorms } == 7)
  }

  @Test("an odd head size is malformed if rows are reordered")
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
    "a gguf architecture name gives the most general architecture",
    arguments: [
      ("llama", "llama"), ("qwen2", "qwen2"), ("qwen3", "qwen3"), ("gemma", "gemma"),
      ("gemma2", "gemma2"), ("gemma3", "gemma3_text"), ("phi3", "phi3"), ("qwen2moe", "qwen2_moe"),
      ("qwen3moe", "qwen3_moe"), ("olmo2", "olmo2"),
    ])
  func lookup(name: String, modelType: String) throws {
    #expect(try #require(Architectures.named(name)).modelTypes.first == modelType)
  }

  @Test("an unknown architecture is nil") func unknown() {
    for name in ["", "Llama", "mamba", "gemma5", "qwen2_moe."] {
      #expect(Architectures.named(name) == nil)
      #expect(Architectures.forModelType(name) == nil)
    }
    for name in ["mistral", "mixtral", "gemma3_text"] { #expect(Architectures.named(name) == nil) }
  }

  @Test("every architecture file is registered, and model types are unique")
  func registry() throws {
    let files = try Files.names(in: Fixtures.repository + "/Sources/Architectures/Tables")
    // Variants with the same name in GGUF share a file; so do models and their text models.
    let variants = Set(Architectures.variants.filter { !$0.isTextAlone }.map(\.ggufName))
    #expect(files.count == Architectures.all.count + variants.count)
    let types = Architectures.all.flatMap(\.modelTypes)
    for file in files {
      let type = String(file.dropLast(".swift".count)).lowercased()
      let names = types + Architectures.variants.map(\.ggufName)
      #expect(names.contains { $0.filter { !"_-".contains($0) } == type }, "\(file)")
    }
    #expect(Set(types).count == types.count)
  }
}
