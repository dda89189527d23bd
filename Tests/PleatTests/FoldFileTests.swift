import Adapters
import Bytes
import Pleat
import TestSupport
import Testing

/// Opening adapter files and folders.
@Suite struct FoldFileTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private static let factors = ToyFactors("a", 6, 16, seed: 641)

  private func error(_ name: String) -> ModelError? {
    Laws.error { () throws(ModelError) in try AdapterFile.open(scratch.path(name)) }
  }

  @Test("a PEFT folder, its tensor file and its config open the same adapter") func peft() throws {
    try scratch.peft(Self.factors.tensors, as: "lora")
    let files = try ["lora", "lora/", "lora/adapter_model.safetensors", "lora/adapter_config.json"]
      .map { try AdapterFile.open(scratch.path($0)) }
    for file in files {
      #expect(file.name == "lora")
      #expect(file.adapter.kind == .peft)
      #expect(file.checksum == files[0].checksum)
      #expect(try file.numbers(of: 1, 0..<12) == Self.factors.b)
    }
    try scratch.peft(Self.factors.withoutEffect.tensors, as: "other")
    #expect(try AdapterFile.open(scratch.path("other")).checksum != files[0].checksum)
  }

  @Test("an MLX adapter folds like a PEFT adapter with transposed factors (seed 641)")
  func mlx() throws {
    let factors = Self.factors
    let a = (0..<16).flatMap { column in (0..<2).map { factors.a[$0 * 16 + column] } }
    let b = (0..<2).flatMap { k in (0..<6).map { factors.b[$0 * 2 + k] } }
    try scratch.write(
      ToyFiles.safetensors([
        Toy("a.lora_a", .f32, [16, 2], a), Toy("a.lora_b", .f32, [2, 6], b),
      ]), as: "mlx/adapters.safetensors")
    try scratch.write(
      "{\"fine_tune_type\":\"lora\",\"lora_parameters\":{\"rank\":2,\"scale\":3.0}}",
      as: "mlx/adapter_config.json")
    try scratch.peft(factors.tensors, as: "peft")
    let base = try Models.make([Toy("a.weight", .f16, [6, 16], seed: 642)], in: scratch)
    for name in ["mlx", "peft"] {
      let applied = AppliedAdapter(try AdapterFile.open(scratch.path(name)))
      let out = scratch.path("\(name).safetensors")
      try Run(
        try Plan.folding([applied], into: base, to: Destination(path: out, format: .safetensors)))()
    }
    let left = try Model.open(scratch.path("mlx.safetensors"))
    let right = try Model.open(scratch.path("peft.safetensors"))
    #expect(try left.parts("a.weight") == right.parts("a.weight"))
  }

  @Test("the only gguf file in a folder is the adapter") func gguf() throws {
    let bytes = ToyFiles.gguf(
      [
        (Toy("a.weight.lora_a", .f32, [2, 16], Self.factors.a), 0),
        (Toy("a.weight.lora_b", .f32, [6, 2], Self.factors.b), 0),
      ], metadata: [("general.type", "adapter"), ("adapter.type", "lora")], alpha: 6)
    try scratch.write(bytes, as: "folder/lora.gguf")
    let file = try AdapterFile.open(scratch.path("folder"))
    #expect(file.adapter.kind == .gguf)
    #expect(try file.numbers(of: 0, 3..<9) == Array(Self.factors.a[3..<9]))
    #expect(try AdapterFile.open(scratch.path("folder/lora.gguf")).checksum == file.checksum)
    try scratch.write(bytes, as: "folder/other.gguf")
    #expect(error("folder")?.kind == .io)
  }

  @Test("a path without an adapter is refused with the expected file names")
  func notAdapters() throws {
    try scratch.makeFolder("empty")
    try scratch.write("x", as: "pickle/adapter_model.bin")
    try scratch.write("{}", as: "config/adapter_config.json")
    #expect(error("nothing")?.kind == .io)
    for name in ["empty", "config", "config/adapter_config.json"] {
      #expect(error(name)?.kind == .io)
      #expect(error(name)?.expected?.contains("adapter_model.safetensors") == true)
    }
    for name in ["pickle", "pickle/adapter_model.bin"] {
      #expect(error(name)?.kind == .unsupported)
      #expect(error(name)?.hint?.contains("save_pretrained") == true)
    }
    _ = try Models.make([Toy("a.weight", .f16, [6, 16], seed: 643)], in: scratch)
    #expect(error("model.safetensors")?.kind == .unsupported)
  }

  @Test("a damaged or missing adapter config is malformed") func configs() throws {
    for (index, text) in ["", "{", "[1]", "{\"r\":2", "{\"r\":2}x"].enumerated() {
      try scratch.peft(Self.factors.tensors, as: "\(index)")
      try scratch.write(text, as: "\(index)/adapter_config.json")
      #expect(error("\(index)")?.kind == .malformed)
      #expect(error("\(index)")?.file?.contains("/\(index)") == true)
    }
    try scratch.remove("0/adapter_config.json")
    #expect(error("0")?.kind == .malformed)
    #expect(error("0")?.hint?.contains("alpha") == true)
  }

  @Test(
    "F16, BF16 and F32 factors are read at any range (seed 644)",
    arguments: [ScalarType.f16, .bf16, .f32])
  func types(type: ScalarType) throws {
    let tensors = Self.factors.tensors.map { tensor in
      Toy(tensor.name, type, tensor.shape, Numbers.floats(f32: tensor.bytes))
    }
    try scratch.peft(tensors, as: "lora")
    let file = try AdapterFile.open(scratch.path("lora"))
    let wanted = Numbers.rounded(Self.factors.a, to: type)
    for range in [0..<32, 0..<0, 31..<32, 5..<20, 32..<32] {
      #expect(try file.numbers(of: 0, range) == Array(wanted[range]))
    }
  }

  @Test("Q8_0 factors are read at any range (seed 645)") func blocks() throws {
    var random = Seeded(645)
    let scales = Numbers.rounded(random.weights(4), to: .f16)
    let codes = random.bytes(128).map { Int8(bitPattern: $0) }
    let bytes = (0..<4).flatMap { block in
      Numbers.f16([scales[block]])
        + codes[block * 32..<block * 32 + 32].map(UInt8.init(bitPattern:))
    }
    let path = try scratch.write(
      ToyFiles.gguf(
        [
          (Toy("a.weight.lora_a", .u8, [2, 64], bytes: bytes), 8),
          (Toy("a.weight.lora_b", .f32, [6, 2], Self.factors.b), 0),
        ], metadata: [("general.type", "adapter"), ("adapter.type", "lora")]), as: "lora.gguf")
    let file = try AdapterFile.open(path)
    let wanted = (0..<128).map { scales[$0 / 32] * Float(codes[$0]) }
    for range in [0..<128, 0..<1, 31..<33, 64..<128, 33..<127, 128..<128, 40..<40] {
      #expect(try file.numbers(of: 0, range) == Array(wanted[range]), "\(range)")
    }
  }

  @Test("integer factors are refused by name, and no files are left")
  func noNumbers() throws {
    let tensors = [
      Toy("a.lora_A.weight", .i8, [2, 16], bytes: [UInt8](repeating: 1, count: 32)),
      Toy("a.lora_B.weight", .f32, [6, 2], Self.factors.b),
    ]
    try scratch.peft(tensors, as: "lora")
    let base = try Models.make([Toy("a.weight", .f16, [6, 16], seed: 646)], in: scratch)
    let before = try scratch.names()
    let error = Laws.error { () throws(ModelError) in
      let applied = AppliedAdapter(try AdapterFile.open(scratch.path("lora")))
      let out = Destination(path: scratch.path("out.safetensors"), format: .safetensors)
      try Run(try Plan.folding([applied], into: base, to: out))()
    }
    #expect(error?.kind == .unsupported)
    #expect(error?.tensor == "a.lora_A.weight")
    #expect(try scratch.names() == before)
  }

  @Test("an adapter that shrinks before the run is an I/O error and leaves no files")
  func shrinking() throws {
    let folder = try scratch.peft(Self.factors.tensors, as: "lora")
    let bytes = try scratch.bytes(of: "lora/adapter_model.safetensors")
    let damaged = try DamagedFile(bytes, as: "lora/adapter_model.safetensors", in: scratch)
    let base = try Models.make([Toy("a.weight", .f16, [6, 16], seed: 647)], in: scratch)
    let applied = AppliedAdapter(try AdapterFile.open(folder))
    let plan = try Plan.folding(
      [applied], into: base,
      to: Destination(path: scratch.path("out.safetensors"), format: .safetensors))
    let before = try scratch.names()
    try damaged.truncate(to: bytes.count - 20)
    let error = Laws.error { () throws(ModelError) in try Run(plan)() }
    #expect(error?.kind == .io)
    #expect(try scratch.names() == before)
  }
}
