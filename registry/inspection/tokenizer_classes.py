"""Tokenizer classes that transformers brings itself (5.23 and the 4.x line), without the ending `Fast`.

Any other name makes a loader look for code, in the repository or in another one.
"""

_NAMES = """
    AlbertTokenizer AutoTokenizer BartTokenizer BarthezTokenizer BartphoTokenizer BertJapaneseTokenizer
    BertTokenizer BertweetTokenizer BigBirdPegasusTokenizer BigBirdTokenizer BioGptTokenizer
    BlenderbotSmallTokenizer BlenderbotTokenizer BlipTokenizer BloomTokenizer ByT5Tokenizer CLIPTokenizer
    CTRLTokenizer CamembertTokenizer CanineTokenizer ClvpTokenizer CodeGenTokenizer CodeLlamaTokenizer
    CohereTokenizer ConvBertTokenizer CpmAntTokenizer CpmTokenizer DPRContextEncoderTokenizer
    DPRQuestionEncoderTokenizer DPRReaderTokenizer DbrxTokenizer DebertaTokenizer DebertaV2Tokenizer
    DiaTokenizer DistilBertTokenizer ElectraTokenizer ErnieMTokenizer EsmTokenizer EsmcTokenizer
    FNetTokenizer FSMTTokenizer FlaubertTokenizer FunnelTokenizer GPT2Tokenizer GPTJTokenizer
    GPTNeoXJapaneseTokenizer GPTNeoXTokenizer GPTSw3Tokenizer GemmaTokenizer HerbertTokenizer
    IdeficsTokenizer JambaTokenizer JukeboxTokenizer LEDTokenizer LasrTokenizer LayoutLMTokenizer
    LayoutLMv2Tokenizer LayoutLMv3Tokenizer LayoutXLMTokenizer LlamaTokenizer LongT5Tokenizer
    LongformerTokenizer LukeTokenizer LxmertTokenizer M2M100Tokenizer MBart50Tokenizer MBartTokenizer
    MPNetTokenizer MPTTokenizer MT5Tokenizer MarianTokenizer MarkupLMTokenizer MegaTokenizer
    MegatronBertTokenizer MgpstrTokenizer MistralCommonTokenizer MobileBertTokenizer MusicgenTokenizer
    MvpTokenizer MyT5Tokenizer NezhaTokenizer NllbTokenizer NougatTokenizer NystromformerTokenizer
    OPTTokenizer OpenAIGPTTokenizer PLBartTokenizer ParakeetTokenizer PegasusTokenizer PerceiverTokenizer
    PersimmonTokenizer Phi3Tokenizer PhobertTokenizer PreTrainedTokenizer ProphetNetTokenizer
    PythonBackend Qwen2Tokenizer Qwen2VLTokenizer Qwen3_5Tokenizer RagTokenizer RealmTokenizer
    ReformerTokenizer RemBertTokenizer RetriBertTokenizer RoCBertTokenizer RoFormerTokenizer
    RobertaTokenizer SeamlessM4TTokenizer SentencePieceBackend Siglip2Tokenizer Speech2TextTokenizer
    SpeechT5Tokenizer SplinterTokenizer SqueezeBertTokenizer StableLmTokenizer
    SwitchTransformersTokenizer T5Tokenizer TapasTokenizer TapexTokenizer TokenizersBackend
    TransfoXLTokenizer UdopTokenizer VideoPrismTokenizer VisualBertTokenizer VitsTokenizer
    Wav2Vec2CTCTokenizer Wav2Vec2PhonemeCTCTokenizer Wav2Vec2Tokenizer WhisperTokenizer XGLMTokenizer
    XLMProphetNetTokenizer XLMRobertaTokenizer XLMTokenizer XLNetTokenizer YosoTokenizer
"""
KNOWN: frozenset[str] = frozenset(_NAMES.split())


def is_known(name: str) -> bool:
    return name.removesuffix("Fast") in KNOWN
