import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Towers for pictures and sound, which stay in 16 bits unless a rule matches them.
@Suite struct TowerTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let tower = "a vision or audio tower"

  /// Weights of towers, projectors and merging layers, in checkpoints and in GGUF files.
  static let towers = [
    "visual.blocks.3.attn.qkv.weight", "model.visual.merger.mlp.2.weight",
    "thinker.audio_tower.layers.1.fc2.weight", "vision_tower.encoder.layers.0.mlp.fc1.weight",
    "model.vision_model.encoder.layers.0.self_attn.out_proj.weight",
    "model.connector.modality_projection.proj.weight", "mlp1.3.weight", "aligner.layers.0.weight",
    "model.embed_vision.embedding_projection.weight", "vision_language_adapter.w_in.weight",
    "model.embed_tokens_extend.image_embed.img_projection.0.weight", "vpm.layers.7.fc1.weight",
    "transformer.vision.linear_proj.gate_proj.weight", "talker.model.layers.0.mlp.up_proj.weight",
    "acoustic_connector.fc1.weight", "model.multi_modal_projector.linear_1.weight",
    "video_tower.blocks.0.attn.proj.weight", "v.blk.0.ffn_up.weight", "mm.2.weight",
    "a.blk.5.attn_out.weight", "vte.weight", "model.mm_projector_aux_1.2.weight",
    "speech_Qformer.bert.encoder.layer.0.output.dense.weight", "vae2llm.weight",
    "model.vq_adaptor.layers.0.weight", "time_embedder.mlp.0.weight",
  ]

  @Test("weights of towers, projectors and merging layers stay plain") func towerNames() throws {
    let source = try Models.named(Self.towers.map { ($0, [64, 64]) }, in: scratch)
    let plan = try Plan.quantizing(
      source, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
    for name in Self.towers { #expect(plan.decisions[name] == Self.tower, "\(name)") }
  }

  @Test("an encoder beside the layers of a text model is a tower") func encoders() throws {
    let tower = ["encoder.blocks.0.attn.query.weight", "adapter.linear1.weight"]
    let decoder = "decoder.block.0.layer.0.SelfAttention.q.weight"
    for (text, isTower) in [("model.layers.0.mlp.up_proj.weight", true), (decoder, false)] {
      let source = try Models.named((tower + [text]).map { ($0, [64, 64]) }, in: scratch)
      let plan = try Plan.quantizing(
        source, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      for name in tower { #expect((plan.decisions[name] == Self.tower) == isTower, "\(name)") }
    }
  }

  @Test(
    "a tower stays plain in every format, with a note, unless a rule matches it",
    arguments: Formats.all.filter { !$0.bits.isEmpty }.map(\.name), [towers[0], towers[9]])
  func towerRules(format: String, name: String) throws {
    let format = try Formats.named(format)
    let text = "model.layers.0.mlp.up_proj.weight"
    let zeros = [(text, [64, 256]), (name, [64, 256]), ("visual.norm.weight", [64])].map {
      Toy($0.0, .f16, $0.1, [Float](repeating: 0, count: $0.1.reduce(1, *)))
    }
    let source = try Model.open(
      try scratch.checkpoint(
        zeros, config: "{}", as: "source", metadata: [("general.architecture", "llama")]))
    let destination = Destination(path: scratch.path("out"), format: format)
    func plan(_ rules: [String]) throws -> Plan {
      var recipe = Recipe()
      recipe.rules = try rules.map { try Rule(text: $0) }
      return try Plan.quantizing(source, recipe, to: destination)
    }
    let plain = try plan([])
    #expect(plain.job(text)?.target.isGrouped == true)
    #expect(plain.job(name)?.target.isGrouped == false)
    let isNamed = name.hasPrefix("visual.")
    #expect(
      plain.notes.contains(
        "the vision or audio tower stays in 16 bits: 2 tensors"), "\(plain.notes)")
    let bits = format.bits.contains(8) ? "8" : "4"
    let ruled = try plan(["\(isNamed ? "visual" : "vision_*").*=\(bits)"])
    #expect(ruled.job(name)?.target.isGrouped == true)
    #expect(ruled.job("visual.norm.weight")?.target.isGrouped == false)
    #expect(!ruled.notes.contains { $0.contains("tower") })
    let all = try plan(["*=\(bits)"])
    #expect(all.job(name)?.target.isGrouped == true)
    #expect(
      all.notes.contains(
        "1 weight of the vision or audio tower is quantized, because the rule '*' matches \(name)"))
  }

  @Test("every tensor of a projector belongs to a tower, and so does a speech encoder")
  func projectors() throws {
    let names = ["up.weight", "blk.0.attn_q.weight"]
    for metadata in [("general.architecture", "clip"), ("general.type", "mmproj")] {
      let source = try Models.named(
        names.map { ($0, [64, 64]) }, in: scratch, metadata: [metadata])
      #expect(source.kind == .projector)
      let plan = try Plan.quantizing(
        source, Recipe(), to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      #expect(names.allSatisfy { plan.decisions[$0] == Self.tower })
    }
    let encoder = ("model.encoder.layers.0.ff1.up_proj.weight", [64, 64])
    let text = ("language_model.model.layers.0.mlp.up_proj.weight", [64, 64])
    for (tensors, expected) in [([encoder, text], Self.tower), ([encoder], RoleTests.quantized)] {
      let plan = try Plan.quantizing(
        try Models.named(tensors, in: scratch), Recipe(),
        to: Destination(path: scratch.path("out.pleat"), format: .pleat))
      #expect(plan.decisions[encoder.0] == expected)
    }
  }
}
