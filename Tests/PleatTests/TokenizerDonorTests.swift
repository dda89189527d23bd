import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Tokenizers that an adapter folder brings, and `--tokenizer-from`.
@Suite struct TokenizerDonorTests {
  let support: DonorSupport

  init() throws { support = try DonorSupport() }

  @Test("a note names what an adapter brings otherwise") func noted() throws {
    try support.adapter([
      "tokenizer.json": DonorSupport.tokenizer(added: [("<end>", 12)]),
      "chat_template.jinja": "{{ new }}", "tokenizer_config.json": #"{"eos_token":"<end>"}"#,
    ])
    #expect(
      try support.fold(to: "out").notes == [
        "lora comes with another tokenizer, chat template and end-of-text token than the output "
          + "has; --tokenizer-from \(support.scratch.path("lora")) takes what it comes with"
      ])
    try support.adapter(["chat_template.jinja": "{{ new }}"])
    #expect(
      try support.fold(to: "out").notes.first?.hasPrefix(
        "lora comes with another chat template than") == true)
    // This file alone is no tokenizer to take.
    try support.adapter(["generation_config.json": #"{"eos_token_id":[3,14]}"#])
    #expect(
      try support.fold(to: "out").notes == [
        "lora comes with another end-of-text token than the output has; without its tokenizer, the "
          + "output keeps its own"
      ])
  }

  @Test("an adapter with the same tokenizer, written otherwise, gets no note") func equal() throws {
    try support.adapter([:])
    #expect(try support.fold(to: "out").notes == [])
    let document = try JSONParser.parse(
      Array(DonorSupport.tokenizer().utf8), file: "tokenizer.json")
    try support.adapter([
      "tokenizer.json": JSONWriter.text(document, indentation: 2),
      "chat_template.jinja": "{{ old }}",
      "tokenizer_config.json": #"{"eos_token":{"content":"</s>"},"padding_side":"left"}"#,
    ])
    #expect(try support.fold(to: "out").notes == [])
    // One safetensors file stores no tokenizer, so none is compared.
    try support.adapter(["chat_template.jinja": "{{ new }}"])
    #expect(try support.fold(to: "out.safetensors").notes.allSatisfy { !$0.contains("lora") })
  }

  @Test("a tokenizer of an adapter that cannot be read is noted") func damaged() throws {
    try support.adapter(["tokenizer.json": "{", "tokenizer_config.json": "{}"])
    let notes = try support.fold(to: "out").notes
    #expect(notes.count == 1 && notes[0].contains("the tokenizer of lora cannot be read"))
  }

  @Test("an adapter's files replace those of the checkpoint, and configs state its last token")
  func checkpoint() throws {
    let files = [
      "tokenizer.json": DonorSupport.tokenizer(added: [("</s>", 3), ("<end>", 12)]),
      "tokenizer_config.json": #"{"eos_token":"<end>","chat_template":"{{ new }}"}"#,
      "additional_chat_templates/rag.jinja": "{{ rag }}",
    ]
    try support.adapter(files)
    let plan = try support.fold(to: "out", from: "lora")
    #expect(
      plan.notes == [
        "eos_token_id in config.json becomes 12",
        "eos_token_id in generation_config.json becomes 12",
      ])
    try Run(plan)()
    for (name, text) in files {
      #expect(try support.scratch.bytes(of: "out/\(name)") == Array(text.utf8), "\(name)")
    }
    // The template of the checkpoint would replace that of the adapter.
    #expect(
      try support.scratch.names(in: "out") == [
        "additional_chat_templates", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
      ])
    let model = try Model.open(support.scratch.path("out"))
    #expect(try model.configuration()?["eos_token_id"]?.int == 12)
    let generation = try model.companionReader.document("generation_config.json")
    #expect(generation?["eos_token_id"] == [12, 3])
  }

  @Test("tokens beyond the rows of the embeddings are noted") func tooManyTokens() throws {
    for (last, note) in [
      (39, nil), (41, "the tokenizer of lora has 2 tokens beyond the 40 rows of the embeddings"),
    ] as [(Int, String?)] {
      try support.adapter(["tokenizer.json": DonorSupport.tokenizer(added: [("</s>", last)])])
      let notes = try support.fold(to: "out", from: "lora").notes.map {
        $0.replacing(support.scratch.path("lora"), with: "lora")
      }
      #expect(notes.first { $0.contains("beyond") } == note)
    }
  }

  @Test("an adapter that adds tokens brings their tokenizer") func growth() throws {
    let table = ["model.embed_tokens.weight", "lm_head.weight"].map {
      Toy($0, .f16, [42, 64], seed: 731)
    }
    let tokenizer = DonorSupport.tokenizer(added: [("</s>", 3), ("<new>", 41)])
    try support.adapter(["tokenizer.json": tokenizer], table)
    for name in ["out", "out.pleat", "out.gguf"] {
      let plan = try support.fold(to: name)
      #expect(plan.notes.contains("the tokenizer is that of lora, which adds 2 tokens"))
      try Run(plan)()
    }
    for name in ["out", "out.pleat"] {
      let model = try Model.open(support.scratch.path(name))
      #expect(try model.companion(named: "tokenizer.json") == Array(tokenizer.utf8))
      #expect(try model.configuration()?["vocab_size"] == 42)
    }
    let tokens = try Model.open(support.scratch.path("out.gguf")).catalog.metadata[
      "tokenizer.ggml.tokens"]
    guard case .array(let list)? = tokens else {
      Issue.record("there are no tokens")
      return
    }
    #expect(list.count == 42)
    try support.adapter([:], table)
    #expect(
      try support.fold(to: "out2").notes.first
        == "lora adds 2 tokens and brings no tokenizer: --tokenizer-from names one")
  }

  @Test("a template alone replaces only the template") func templateAlone() throws {
    try support.adapter(["chat_template.jinja": "{{ new }}"])
    let plan = try support.fold(to: "out", from: "lora")
    #expect(plan.notes == [])
    try Run(plan)()
    for name in ["tokenizer.json", "tokenizer_config.json", "config.json"] {
      let isSame =
        try support.scratch.bytes(of: "out/\(name)") == support.scratch.bytes(of: "hf/\(name)")
      #expect(isSame, "\(name)")
    }
    #expect(try support.scratch.bytes(of: "out/chat_template.jinja") == Array("{{ new }}".utf8))
  }

  @Test("special tokens alone leave the other settings") func specialTokensAlone() throws {
    try support.adapter(["special_tokens_map.json": #"{"eos_token":"</s>"}"#])
    try Run(try support.fold(to: "out", from: "lora"))()
    let settings = try support.scratch.bytes(of: "out/tokenizer_config.json")
    #expect(settings == (try support.scratch.bytes(of: "hf/tokenizer_config.json")))
  }

  @Test("a complete tokenizer without a template leaves none, with a note") func withoutTemplate()
    throws
  {
    try support.adapter([
      "tokenizer.json": DonorSupport.tokenizer(), "tokenizer_config.json": "{}",
    ])
    let plan = try support.fold(to: "out", from: "lora")
    #expect(plan.notes.count == 1 && plan.notes[0].contains("brings no chat template"))
    #expect(!plan.fileNames.contains("chat_template.jinja"))
  }

  @Test("gguf gets the tokens, the template and the last token of an adapter") func gguf() throws {
    try support.adapter([
      "tokenizer.json": DonorSupport.tokenizer(added: [("</s>", 3), ("<end>", 12)]),
      "tokenizer_config.json": #"{"eos_token":"<end>"}"#, "chat_template.jinja": "{{ new }}",
    ])
    try Run(try support.fold(to: "out.gguf", from: "lora"))()
    let metadata = try Model.open(support.scratch.path("out.gguf")).catalog.metadata
    #expect(metadata["tokenizer.chat_template"]?.text == "{{ new }}")
    #expect(metadata["tokenizer.ggml.eos_token_id"]?.integer == 12)
    try Run(try support.fold(to: "own.gguf"))()
    let own = try Model.open(support.scratch.path("own.gguf")).catalog.metadata
    #expect(own["tokenizer.chat_template"]?.text == "{{ old }}")
    #expect(own["tokenizer.ggml.eos_token_id"]?.integer == 3)
  }

  @Test("a gguf model takes the tokenizer of a folder, in the place of its own") func ggufBase()
    throws
  {
    try support.adapter(["chat_template.jinja": "{{ new }}"])
    try Run(try support.convert("hf", to: "base.gguf"))()
    let base = try Model.open(support.scratch.path("base.gguf"))
    let plan = try support.fold(to: "out.gguf", base: "base.gguf")
    #expect(plan.notes.first?.hasPrefix("lora comes with another chat template than") == true)
    try support.adapter([
      "tokenizer.json": DonorSupport.tokenizer(added: [("</s>", 3), ("<end>", 12)]),
      "tokenizer_config.json": #"{"eos_token":"<end>"}"#, "chat_template.jinja": "{{ new }}",
    ])
    try Run(try support.fold(to: "out.gguf", base: "base.gguf", from: "lora"))()
    let metadata = try Model.open(support.scratch.path("out.gguf")).catalog.metadata
    #expect(metadata["tokenizer.chat_template"]?.text == "{{ new }}")
    #expect(metadata["tokenizer.ggml.eos_token_id"]?.integer == 12)
    func others(_ metadata: Metadata) -> [Metadata.Entry] {
      metadata.entries.filter { !$0.key.hasPrefix("tokenizer.") && $0.key != "pleat.history" }
    }
    #expect(others(metadata) == others(base.catalog.metadata))
  }

  @Test("large files of a donor go through a compressed pleat file", arguments: [false, true])
  func large(compresses: Bool) throws {
    let template = String(repeating: "{{ some words }}\n", count: 200_000)
    try support.adapter(["chat_template.jinja": template])
    var destination = try support.destination("out.pleat", from: "lora")
    destination.compresses = compresses
    var run = Run(try Plan.converting(support.model(), to: destination))
    run.verifies = true
    try run()
    let model = try Model.open(support.scratch.path("out.pleat"))
    let isSame = try model.companion(named: "chat_template.jinja") == Array(template.utf8)
    #expect(isSame)
    #expect(try Verification(of: model).holds)
  }

  @Test("a donor without a tokenizer, and outputs without a place for it, are refused")
  func refusals() throws {
    try support.adapter([:])
    let empty = Laws.error { () throws(ModelError) in
      try TokenizerDonor.open(support.scratch.path("lora"))
    }
    #expect(empty?.kind == .unsupported)
    #expect(
      Laws.error { () throws(ModelError) in
        try TokenizerDonor.open(support.scratch.path("absent"))
      }?.kind == .io)
    try support.adapter(["chat_template.jinja": "{{ new }}"])
    try Run(try support.convert("hf", to: "donor.gguf"))()
    for (output, donor) in [
      ("out.safetensors", "lora"), ("out", "donor.gguf"), ("out.pleat", "donor.gguf"),
      ("lora", "lora"), ("donor.gguf", "donor.gguf"),
    ] {
      let error = Laws.error { () throws(ModelError) in
        try support.convert("hf", to: output, from: donor)
      }
      #expect(error?.kind == .usage, "\(output) \(donor)")
    }
  }
}

/// A small checkpoint with a tokenizer, and an adapter for it.
struct DonorSupport {
  let scratch: Scratch

  private static let layer = [
    ("input_layernorm", [64]), ("post_attention_layernorm", [64]),
    ("self_attn.q_proj", [64, 64]), ("self_attn.k_proj", [32, 64]),
    ("self_attn.v_proj", [32, 64]), ("self_attn.o_proj", [64, 64]),
    ("mlp.gate_proj", [96, 64]), ("mlp.up_proj", [96, 64]), ("mlp.down_proj", [64, 96]),
  ]

  init() throws {
    scratch = try Scratch()
    let names =
      [("model.embed_tokens.weight", [40, 64]), ("model.norm.weight", [64])]
      + Self.layer.map { ("model.layers.0.\($0.0).weight", $0.1) }
    let toys = names.enumerated().map { Toy($1.0, .f16, $1.1, seed: UInt64(700 + $0)) }
    try scratch.write(ToyFiles.safetensors(toys), as: "hf/model.safetensors")
    for (name, text) in [
      ("tokenizer.json", Self.tokenizer()), ("chat_template.jinja", "{{ old }}"),
      ("tokenizer_config.json", #"{"eos_token":"</s>"}"#),
      ("generation_config.json", #"{"eos_token_id":3}"#),
      (
        "config.json",
        """
        {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "eos_token_id": 3,
         "intermediate_size": 96, "max_position_embeddings": 512, "num_attention_heads": 4,
         "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "vocab_size": 40}
        """
      ),
    ] {
      try scratch.write(text, as: "hf/\(name)")
    }
  }

  /// A tokenizer.json with added tokens, and others in the vocabulary, up to the largest id.
  static func tokenizer(added: [(String, Int)] = [("</s>", 3)]) -> String {
    let ids = Set(added.map(\.1))
    let vocabulary = (0..<(ids.max() ?? 3)).filter { !ids.contains($0) }.map { id in
      #""\#(id < 3 ? ["a", "b", "ab"][id] : "w\(id)")":\#(id)"#
    }
    let tokens = added.map { #"{"id":\#($0.1),"content":"\#($0.0)","special":true}"# }
    return """
      {"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"use_regex":true},\
      "added_tokens":[\(tokens.joined(separator: ","))],\
      "model":{"type":"BPE","vocab":{\(vocabulary.joined(separator: ","))},"merges":["a b"]}}
      """
  }

  /// Writes the adapter, with files of a tokenizer beside it.
  func adapter(_ files: [String: String], _ more: [Toy] = []) throws {
    try? scratch.remove("lora")
    try scratch.peft(
      ToyFactors("model.layers.0.self_attn.q_proj", 64, 64, seed: 730).tensors + more, as: "lora")
    for (name, text) in files { try scratch.write(text, as: "lora/\(name)") }
  }

  func model(_ name: String = "hf") throws(ModelError) -> Model {
    try Model.open(scratch.path(name))
  }

  /// An output whose format follows from its suffix, with the tokenizer of `donor`.
  func destination(_ name: String, from donor: String? = nil) throws(ModelError) -> Destination {
    let suffix = Files.suffix(of: name)
    var destination = Destination(
      path: scratch.path(name),
      format: Formats.all.first { $0.name == suffix } ?? .safetensors)
    if let donor { destination.tokenizerDonor = try TokenizerDonor.open(scratch.path(donor)) }
    return destination
  }

  /// A plan that folds the adapter into the checkpoint.
  func fold(
    to name: String, base: String = "hf", from donor: String? = nil
  ) throws(ModelError) -> Plan {
    let adapter = AppliedAdapter(try AdapterFile.open(scratch.path("lora")))
    return try Plan.folding(
      [adapter], into: try model(base), to: try destination(name, from: donor))
  }

  func convert(
    _ base: String, to name: String, from donor: String? = nil
  ) throws(ModelError) -> Plan {
    try Plan.converting(try model(base), to: try destination(name, from: donor))
  }
}
