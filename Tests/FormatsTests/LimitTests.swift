import Bytes
import Formats
import Pleat
import TensorModel
import TestSupport
import Testing

/// Files that exceed the limits of a reader.
@Suite struct LimitTests {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func path(_ format: Format) throws -> String {
    let source = Fixtures.path("golden/gguf/metadata.gguf")
    switch format {
    case .safetensors: return Fixtures.path("golden/safetensors/names.safetensors")
    case .gguf: return source
    case .mlx:
      return try scratch.checkpoint(
        [Toy("a.weight", .f16, [4], seed: 1), Toy("b.weight", .f16, [4], seed: 2)],
        config: #"{"quantization":{"group_size":64,"bits":4}}"#, as: "mlx")
    case .gptq, .gptqV1:
      return try scratch.checkpoint(
        [Toy("a.weight", .f16, [4], seed: 1), Toy("b.weight", .f16, [4], seed: 2)],
        config: ToyGPTQ.config(version: format == .gptq ? "gptq_v2" : "gptq"), as: format.name)
    case .awq, .compressedTensors:
      let config =
        format == .awq
        ? #"{"quant_method":"awq","bits":4,"group_size":32}"#
        : #"{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"#
          + #""g":{"weights":{"num_bits":4,"group_size":32}}}}"#
      return try scratch.checkpoint(
        [Toy("a.weight", .f16, [4], seed: 1), Toy("b.weight", .f16, [4], seed: 2)],
        config: #"{"quantization_config":\#(config)}"#, as: format.name)
    default:
      let path = scratch.path("a.pleat")
      if try !scratch.names().contains("a.pleat") {
        try Rewriting.convert(source, to: path, .pleat)
      }
      return path
    }
  }

  private func kind(_ path: String, _ change: (inout ReadLimits) -> Void) -> ModelError.Kind? {
    var limits = ReadLimits()
    change(&limits)
    let chosen = limits
    return Laws.error { () throws(ModelError) in try Model.open(path, limits: chosen) }?.kind
  }

  @Test("the number of tensors is limited", arguments: Formats.all)
  func tensors(format: Format) throws {
    let path = try path(format)
    #expect(try Model.open(path).format == format)
    let count = try Model.open(path).catalog.tensors.count
    #expect(kind(path) { $0.tensorCount = count } == nil)
    #expect(kind(path) { $0.tensorCount = count - 1 } == .limit)
  }

  @Test("the length of a JSON header is limited", arguments: [Format.safetensors, .pleat])
  func headers(format: Format) throws {
    let path = try path(format)
    let bytes = try Files.bytes(of: path)
    func number(at offset: Int) -> Int {
      (0..<8).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
    }
    let length = format == .safetensors ? number(at: 0) : number(at: 24)
    #expect(kind(path) { $0.headerByteCount = length } == nil)
    #expect(kind(path) { $0.headerByteCount = length - 1 } == .limit)
  }

  @Test("the number of metadata entries is limited", arguments: [Format.gguf, .pleat])
  func metadata(format: Format) throws {
    let path = try path(format)
    #expect(kind(path) { $0.metadataCount = 25 } == nil)
    #expect(kind(path) { $0.metadataCount = 24 } == .limit)
  }

  @Test("the length of a metadata value is limited", arguments: [Format.gguf, .pleat])
  func metadataValues(format: Format) throws {
    #expect(kind(try path(format)) { $0.metadataByteCount = 16 } == .limit)
  }

  @Test("the number of files is limited") func shards() throws {
    for path in [
      Fixtures.path("golden/gguf/split/model-00001-of-00003.gguf"),
      Fixtures.path("golden/safetensors/sharded"),
    ] {
      #expect(kind(path) { $0.shardCount = 3 } == nil)
      #expect(kind(path) { $0.shardCount = 2 } == .limit)
    }
  }

  @Test("the length of a row of groups is limited") func columns() throws {
    let source = try scratch.write(
      ToyFiles.safetensors([Toy("a.weight", .f16, [2, 64], seed: 1)]), as: "a.safetensors")
    let path = try Rewriting.quantize(source, to: scratch.path("b.pleat"))
    #expect(kind(path) { $0.columnCount = 64 } == nil)
    #expect(kind(path) { $0.columnCount = 63 } == .limit)
  }

  @Test("the length of a compressed block is limited") func blocks() throws {
    let source = try scratch.write(
      ToyFiles.safetensors([
        Toy("a", .u8, [100_000], bytes: [UInt8](repeating: 1, count: 100_000))
      ]), as: "a.safetensors")
    let path = try Rewriting.convert(
      source, to: scratch.path("b.pleat"), .pleat, compresses: true)
    #expect(kind(path) { $0.blockByteCount = 100_000 } == nil)
    #expect(kind(path) { $0.blockByteCount = 99_999 } == .limit)
  }

  @Test("the length of a companion block is limited, and inspection ignores the companion")
  func companions() throws {
    let frame = #""block":268435456,"planes":1,"frames":[64,16]"#
    let header =
      #"{"companions":[{"name":"config.json","length":268435456,\#(frame),"crc32c":"00000000"}],"#
      + #"\#(PleatText.noMetadata),"tensors":[]}"#
    let path = try scratch.write(
      PleatText.file(header: header, body: [UInt8](repeating: 0, count: 64)), as: "a.pleat")
    let error = Laws.error { () throws(ModelError) in
      _ = try Model.open(path).companion(named: "config.json")
    }
    #expect(error?.kind == .limit)
    #expect(Inspection(try Model.open(path)).architecture == nil)
  }
}
