"""Names in LLaMA's 20 Wikipedias, by MediaWiki and its editors, of parts of a page that are not text of an article.

The languages (LLaMA, section 2.1): bg ca cs da de en es fr hr hu it nl pl pt ro ru sl sr sv uk. Names of all languages
are in one list: none of them means something else in another language. All are lower case.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


HIDDEN_NAMESPACES = _names(
    "file image media category категория категорія категорија categoria kategorie kategori categoría catégorie "
    "kategorija kategória kategoria файл картинка изображение зображення датотека слика fitxer imatge soubor "
    "categorie "  # codespell:ignore categorie
    "fil billede bild datei archivo imagen fichier datoteka slika fájl kép immagine bestand afbeelding plik grafika "
    "ficheiro arquivo imagem fișier fişier imagine"
)
"""Links into these show a picture or nothing. A dump's `siteinfo` has the main names, not the older ones."""

PROJECTS = _names(
    "wikt wiktionary s wikisource q wikiquote b wikibooks n wikinews v wikiversity voy wikivoyage commons c d wikidata "
    "m meta mw species wikispecies w wikipedia"
)
"""Prefixes of links to other projects: part of the target, not of the text."""

LANGUAGES = _names(
    "aa ab ace ady af ak alt am ami an ang anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar bat-smg "
    "als "  # codespell:ignore als
    "bcl be be-tarask be-x-old bg bh bi bjn blk bm bn bo bpy br bs bug bxr ca cbk-zam cdo ce ceb ch chr chy ckb co cr "
    "crh cs csb cu cv cy da dag de din diq dsb dty dv dz ee el eml en eo es et eu ext fa fat ff fi fiu-vro fj fr "
    "fo "  # codespell:ignore fo
    "frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gu guc gur guw gv ha hak haw he hi hif hr hsb ht hu hy hyw "
    "ia id ie ig ik ilo io is it iu ja jam jbo jv ka kaa kab kbd kbp kcg kg ki kk kl km kn ko koi krc ks ksh ku kv "
    "inh "  # codespell:ignore inh
    "kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lt ltg lv mad mai map-bms mdf mg mhr mi min mk ml mn mni mnw "
    "mr mrj ms mt mwl my myv mzn nah nap nds nds-nl ne new nia nl nn no nov nqo nrm nso nv ny oc olo om or os pa pag "
    "pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa-rup roa-tara ru rue rw sa sah sat sc "
    "scn sco sd se sg sh shi shn si simple sk skr sl sm smn sn so sq sr srn ss st stq su sv sw szl ta tay tcy tet "
    "te "  # codespell:ignore te
    "tg th ti tk tl tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz ve vec vep vi vls vo wa war wo wuu xal xh xmf "
    "yi yo yue za zea zh zh-classical zh-min-nan zh-yue zu"
)
"""Prefixes of links to the same article in another language, which show nothing in the text."""

_APPARATUS = """
references|reference list|references and notes|references and sources|references and further reading|notes
notes and references|notes and citations|notes and sources|notes, citations and references|footnotes|endnotes
explanatory notes|citations|citations and references|external links|external link|see also|further reading|works cited
cited works|cited sources|literature cited|general references|general sources|additional references
general and cited references|general and cited sources|gallery|image gallery|links
external links and references|external sources|related articles
einzelnachweise|weblinks|siehe auch|anmerkungen|fußnoten|belege|nachweise|referenzen|einzelnachweise und anmerkungen
anmerkungen und einzelnachweise|weiterführende literatur|literatur und quellen|galerie|quellen und literatur|weblink
notes et références|références|voir aussi|liens externes|lien externe|articles connexes|annexes|liens internes
notes et sources|sources et références|références et notes|bibliographie et références|lien interne|article connexe
referencias|véase también|enlaces externos|notas|notas y referencias|lecturas adicionales|enlace externo
bibliografía adicional|referencias y notas|galería|véase además|notas al pie
note|voci correlate|collegamenti esterni|altri progetti|note e riferimenti|riferimenti|galleria d'immagini
referências|ver também|ligações externas|notas e referências|leitura adicional|referências bibliográficas|links externos
leituras adicionais|ligação externa|galeria|bibliografia e ligações externas
referenties|externe links|externe link|zie ook|noten|voetnoten|bronnen, noten en/of referenties|bronnen en referenties
bronnen, noten en referenties|externe koppelingen|bronvermelding|verwijzingen|noten en referenties|bronnen en noten
przypisy|linki zewnętrzne|zobacz też|uwagi|link zewnętrzny|galeria zdjęć
примечания|ссылки|см. также|сноски|внешние ссылки|смотрите также|примечания и ссылки|ссылки и примечания|галерея
примітки|посилання|див. також|виноски|зовнішні посилання|джерела та література|література та джерела|дивись також
примітки та посилання|джерела та примітки|примітки та джерела
бележки|външни препратки|вижте също|бележки и източници|препратки|виж също|използвана литература|източници и бележки
референце|спољашње везе|види још|напомене|reference|spoljašnje veze|vidi još|види такође|napomene|белешке|vidi također
белешке и референце|напомене и референце|галерија|izvori i napomene
vanjske poveznice|povezani članci|bilješke|vanjske veze|poveznice|bilješke i izvori|galerija
sklici|zunanje povezave|glej tudi|opombe|viri in literatura|opombe in sklici|sklici in opombe|opombe in viri
externí odkazy|související články|poznámky|odkazy|poznámky a reference|reference a poznámky
referencer|eksterne henvisninger|se også|noter|fodnoter|kilder og henvisninger|eksterne links|henvisninger
ekstern henvisning|noter og referencer|kilder og referencer|eksterne kilder/henvisninger|galleri|referencer og noter
referenser|externa länkar|se även|vidare läsning|fotnoter|tryckta källor|webbkällor|källförteckning|externa källor
noter och referenser|referenser och noter|noter och källor|bildgalleri|källor och referenser
jegyzetek|további információk|külső hivatkozások|kapcsolódó szócikkek|lásd még|további információ|megjegyzések
hivatkozások|galéria|képgaléria|források és jegyzetek|jegyzetek és források|lásd még:
referințe|legături externe|vezi și|note și referințe|lectură suplimentară|referinţe|note bibliografice|vezi şi
legătură externă|note și bibliografie|legaturi externe
referències|enllaços externs|vegeu també|notes i referències|referències i notes|bibliografia complementària
per a més informació|enllaç extern
"""

_PERHAPS = """
bibliography|sources|literature|literatur|quellen|bibliographie|sources|bibliografía|fuentes|bibliografia|fonti|fontes
bronnen|literatuur|literatura|źródła|литература|источники|библиография|література|джерела|бібліографія|източници
библиография|извори|izvori|kilder|litteratur|källor|források|irodalom|bibliografie|surse|fonts|viri|literatúra|zdroje
publikationen und literatur|literatura i źródła|kilder og litteratur|källor och litteratur|литература и источники
источники и литература|bibliografia i źródła|bibliography and references|primary sources|secondary sources
"""


def _titles(text: str) -> frozenset[str]:
    return frozenset(title for line in text.split("\n") for title in line.split("|") if title)


APPARATUS = _titles(_APPARATUS)
"""Titles of sections that hold references, links or pictures, anywhere in an article."""

PERHAPS_APPARATUS = _titles(_PERHAPS)
"""Titles of sections that hold references at the end of an article, but may be about the subject elsewhere."""
